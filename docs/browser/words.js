// All that the pages say, in the four languages that the mails have.

/** What to say for each code. Those that mean a mistake of the page get `ourMistake`. */
const SAYS = {
  invalid_credentials: "The email address or the password is wrong.",
  invalid_two_factor: "The code was not accepted.",
  invalid_passkey: "The passkey was not accepted.",
  invalid_link: "This link does not work.",
  invalid_refresh_token: "You have been signed out. Sign in again.",
  missing_access_token: "You have been signed out. Sign in again.",
  invalid_access_token: "You have been signed out. Sign in again.",
  signed_out: "You have been signed out. Sign in again.",
  reauthentication_required: "Sign in again for this change.",
  another_person: "Somebody else was signed in. Nothing was changed.",
  passkey_cancelled: "No passkey was used: it was cancelled, or took too long.",
  passkey_unusable: "This browser cannot use passkeys here.",
  wrong_password: "The current password is wrong.",
  too_many_passkeys: "The account has as many passkeys as it can have. Remove one first.",
  passkey_known: "This device already has a passkey of the account.",
  not_found: "This session is already over.",
  invalid_request: "Check what is marked below.",
  too_many_attempts: "Too many attempts.",
  request_timeout: "The connection is slow. Try again.",
  internal: "Something went wrong on our side. Try again; if it stays so, report it with the number below.",
  unavailable: "The service is not available at the moment. Try again in a moment.",
  overloaded: "The service is busy at the moment. Try again in a moment.",
  network: "The server cannot be reached. Check the connection, and try again.",
  unexpected_answer: "The server cannot be reached. Check the connection, and try again.",
};

/** Words in braces are filled in. */
const ENGLISH = {
  ourMistake: "Something went wrong. Reload the page, and try again.",
  number: "Number: {number}",
  canTryAgainIn: "You can try again in {time}.",
  waitFor: "Wait for {time}.",
  canTryAgain: "You can try again now.",

  signIn: "Sign in",
  address: "Email address",
  password: "Password",
  show: "Show",
  showPassword: "Show password",
  forgotten: "Forgot your password?",
  signInWithPasskey: "Sign in with a passkey",
  enterAddress: "Enter your email address.",
  enterPassword: "Enter your password.",
  cancel: "Cancel",

  enterCode: "Enter the code",
  codeSent: "A code is on its way to {email}. It is good until {time}.",
  code: "Six-digit code",
  confirm: "Confirm",
  sendAnother: "Send a new code",
  anotherAddress: "Use another address",
  enterDigits: "Enter the six digits from the mail.",
  wrongCode: "It is wrong or no longer good. Check it, or send a new one.",
  newCode: "If nothing went wrong, a new code is on its way. Earlier codes stay good for their time.",
  codeOfApp: "Enter what your authenticator app shows for {email}. You have until {time}.",
  enterDigitsOfApp: "Enter the six digits that the app shows.",
  wrongCodeOfApp: "It is wrong, was used already, or came too late. Wait for the next one. If that fails too, sign in again.",
  anyCode: "Code",
  anyCodeHint: "Enter the code for {email}. You have until {time}.",
  enterAnyCode: "Enter the code.",
  wrongAnyCode: "It is wrong or no longer good. Check it, or sign in again.",
  useRecoveryCode: "Use a recovery code",
  enterRecoveryTitle: "Enter a recovery code",
  recoveryHint:
    "One of the codes that you kept when you set up the app or the passkey. Each works once. If you have none, ask the people who run the Back Office.",
  recoveryCode: "Recovery code",
  enterRecoveryCode: "Enter one of your recovery codes.",
  wrongRecoveryCode: "It is wrong, was used already, or came too late. Check it, or sign in again.",
  toCode: "Back to the other code",
  recoveryCodeUsed:
    "That recovery code is used up. Unused codes: {count}. If the phone or the key is lost, set up another one.",

  usePasskeyTitle: "Use your passkey",
  passkeyHint: "Show with a passkey that you are {email}. You have until {time}.",
  noPasskeyHere:
    "{email} has a passkey as second factor, and this browser has no passkeys. Use another browser, or a recovery code. You have until {time}.",
  usePasskey: "Use the passkey",
  useCode: "Enter a code instead",
  toPasskey: "Back to the passkey",
  wrongPasskey: "The passkey was not accepted, or it came too late. Try again; if that fails too, sign in again.",

  forgotHint: "Enter your address. A mail brings a link with which you choose a new password.",
  sendLink: "Send the link",
  toSignIn: "Back to sign-in",
  lookAtMails: "Look at your mails",
  mailedTo: "If {email} has an account, a link is on its way there.",
  mailedHint:
    "Nothing there after some minutes? Look at the spam folder, check the address, and ask for another one. Only the people who run the Back Office make accounts.",
  askAgain: "Ask for another link",

  chooseTitle: "Choose a password",
  openLink: "Open the link",
  forReset: "You asked for this link because the password was forgotten. It works until {time}.",
  forInvitation: "Welcome to the Back Office. This invitation works until {time}.",
  newPassword: "New password",
  passwordHint:
    "At least 8 characters, and none of the common passwords. A few words that you can remember are better than signs that you cannot.",
  setPassword: "Set the password",
  enterNewPassword: "Enter a new password.",
  isSet: "Your password is set",
  isSetHint: "Sign in with it now. Where {email} was signed in, that has ended.",
  isSetForAnother: "It is the password of {email}. In this browser {other} is signed in.",
  toSignInNow: "Go to sign-in",
  toAccount: "Go to the account of {email}",
  deadTitle: "This link does not work",
  deadHint: "It was used, has expired, or is not complete. Links work once, and for a limited time.",
  noLinkTitle: "There is no link here",
  noLink: "Open this page with the link in the mail. After a reload, open that link again.",

  signedIn: "You are signed in",
  asWhom: "As {email}, since {time}.",
  howYouSignIn: "How you sign in",
  byPassword: "Password",
  byCode: "A code by mail at each sign-in",
  byNoCode: "No second factor",
  byApp: "Authenticator app, since {time}",
  byPasskey: "Passkey {name}",
  recoveryCodes: "Unused recovery codes: {count}",
  isFresh: "Your sign-in counts as recent until {time}.",
  isNotFresh: "Your sign-in was some time ago: some changes may ask you to sign in again.",
  changePassword: "Change the password",
  changeHint: "All other sessions of yours end.",
  currentPassword: "Current password",
  enterCurrentPassword: "Enter your current password.",
  wrongPassword: "This is not your current password.",
  isChanged: "Your password is changed. All other sessions are over.",

  setUpApp: "Set up an authenticator app",
  setUpAnother: "Set up another app",
  removeApp: "Remove the app",
  newRecoveryCodes: "New recovery codes",
  noApps: "Authenticator apps are switched off here.",
  enrolHint:
    "Scan the picture with an authenticator app on your phone. Then enter the six digits that it shows. All other sessions of yours end.",
  enrolReplaces: "The app from before works until then, and no longer.",
  qrCode: "QR code for the authenticator app",
  keyHint: "If you cannot scan it, type this key into the app:",
  copyKey: "Copy the key",
  openApp: "Open an app on this device",
  wrongFirstCode: "It is wrong. Wait for the next one, and check that the phone shows the right time. If that fails too, cancel and start again.",
  appIsSetUp: "The authenticator app is set up. All other sessions are over.",
  yourRecoveryCodes: "Your recovery codes",
  keepHint:
    "Each of them works once in place of the app or the passkey, when the device is lost. Keep them apart from the device: on paper, or in a password manager. They are shown only now.",
  codesOf: "Recovery codes of {email}, {time}",
  copyCodes: "Copy the codes",
  print: "Print",
  isCopied: "Copied.",
  isSelected: "The browser does not let this page copy. The text is selected: copy it yourself.",
  areKept: "I have kept them",
  renewTitle: "Make new recovery codes?",
  renewHint: "Those from before stop working, and all other sessions of yours end.",
  makeCodes: "Make new codes",
  noCodesWithoutApp: "There is no authenticator app or passkey any more that the codes could stand in for.",
  removeTitle: "Remove the authenticator app?",
  removeHint:
    "From the next sign-in on, a code comes by mail instead. The recovery codes stop working, and all other sessions of yours end.",
  removeOneHint: "Your other factors stay as they are. All other sessions of yours end.",
  appIsRemoved: "The authenticator app is removed. All other sessions are over.",

  passkey: "Passkey",
  passkeySince: "Since {time}, {last}",
  passkeyUsed: "last used {time}",
  passkeyUnused: "not used yet",
  isSynced: "Synced",
  isSecond: "Only after the password",
  addPasskey: "Add a passkey",
  addPasskeyHint:
    "A phone, a computer, a password manager or a security key keeps it. At sign-in it replaces the code; most passkeys replace the password as well. All other sessions of yours end.",
  name: "Name",
  nameHint: "A name that you will recognise: that of the device, for example.",
  enterName: "Enter a name.",
  passkeyIsAdded: "The passkey is added. All other sessions are over.",
  passkeyRefused: "This passkey could not be added. Try again, or use another device.",
  noPasskeys: "Passkeys are switched off here.",
  againWithPasskey:
    "The passkey is added, and all other sessions are over. Sign in with it now, so that this session counts as confirmed by it.",
  removeIt: "Remove",
  removePasskeyNamed: "Remove the passkey {name}",
  removePasskeyTitle: "Remove the passkey {name}?",
  removeFromDevice: "The device still has the passkey then: remove it there, too.",
  removePasskey: "Remove the passkey",
  passkeyIsRemoved: "The passkey is removed. All other sessions are over.",

  sessions: "Where you are signed in",
  thisBrowser: "This browser",
  unknownProgram: "Unknown program",
  lastUsed: "{network}, last used {time}",
  signOut: "Sign out",
  signOutOne: "Sign out {name}",
  signOutOthers: "Sign out all others",
  signOutEverywhere: "Sign out everywhere",
  sessionIsOver: "The session is over.",
  othersAreOver: "All other sessions are over.",
  isSignedOut: "You are signed out.",
  signedOutUntold: "You are signed out here. The server could not be told, and will notice within a day.",

  signInAgain: "Sign in again",
  againHint: "Your sign-in was some time ago. For this change the server has to know that it is still you.",
  orPassword: "Or with the password:",
};

/** @typedef {typeof ENGLISH & { says: typeof SAYS }} Words */

/** @type {Words} */
const GERMAN = {
  says: {
    invalid_credentials: "Die E-Mail-Adresse oder das Passwort ist falsch.",
    invalid_two_factor: "Der Code wurde nicht angenommen.",
    invalid_passkey: "Der Passkey wurde nicht angenommen.",
    invalid_link: "Dieser Link funktioniert nicht.",
    invalid_refresh_token: "Sie wurden abgemeldet. Melden Sie sich wieder an.",
    missing_access_token: "Sie wurden abgemeldet. Melden Sie sich wieder an.",
    invalid_access_token: "Sie wurden abgemeldet. Melden Sie sich wieder an.",
    signed_out: "Sie wurden abgemeldet. Melden Sie sich wieder an.",
    reauthentication_required: "Melden Sie sich für diese Änderung noch einmal an.",
    another_person: "Jemand anderes wurde angemeldet. Es wurde nichts geändert.",
    passkey_cancelled: "Es wurde kein Passkey verwendet: Es wurde abgebrochen oder hat zu lange gedauert.",
    passkey_unusable: "Dieser Browser kann hier keine Passkeys verwenden.",
    wrong_password: "Das bisherige Passwort ist falsch.",
    too_many_passkeys: "Das Konto hat so viele Passkeys, wie es haben kann. Entfernen Sie zuerst einen.",
    passkey_known: "Dieses Gerät hat schon einen Passkey des Kontos.",
    not_found: "Diese Sitzung ist schon beendet.",
    invalid_request: "Prüfen Sie, was unten markiert ist.",
    too_many_attempts: "Zu viele Versuche.",
    request_timeout: "Die Verbindung ist langsam. Versuchen Sie es noch einmal.",
    internal:
      "Bei uns ist etwas schiefgegangen. Versuchen Sie es noch einmal; wenn es so bleibt, melden Sie es mit der Nummer unten.",
    unavailable: "Der Dienst ist gerade nicht erreichbar. Versuchen Sie es gleich noch einmal.",
    overloaded: "Der Dienst ist gerade ausgelastet. Versuchen Sie es gleich noch einmal.",
    network: "Der Server ist nicht erreichbar. Prüfen Sie die Verbindung und versuchen Sie es noch einmal.",
    unexpected_answer: "Der Server ist nicht erreichbar. Prüfen Sie die Verbindung und versuchen Sie es noch einmal.",
  },
  ourMistake: "Etwas ist schiefgegangen. Laden Sie die Seite neu und versuchen Sie es noch einmal.",
  number: "Nummer: {number}",
  canTryAgainIn: "Der nächste Versuch ist in {time} möglich.",
  waitFor: "Warten Sie {time}.",
  canTryAgain: "Sie können es jetzt wieder versuchen.",

  signIn: "Anmelden",
  address: "E-Mail-Adresse",
  password: "Passwort",
  show: "Anzeigen",
  showPassword: "Passwort anzeigen",
  forgotten: "Passwort vergessen?",
  signInWithPasskey: "Mit einem Passkey anmelden",
  enterAddress: "Geben Sie Ihre E-Mail-Adresse ein.",
  enterPassword: "Geben Sie Ihr Passwort ein.",
  cancel: "Abbrechen",

  enterCode: "Code eingeben",
  codeSent: "Ein Code ist unterwegs an {email}. Er gilt bis {time}.",
  code: "Sechsstelliger Code",
  confirm: "Bestätigen",
  sendAnother: "Neuen Code senden",
  anotherAddress: "Andere Adresse verwenden",
  enterDigits: "Geben Sie die sechs Ziffern aus der E-Mail ein.",
  wrongCode: "Er ist falsch oder gilt nicht mehr. Prüfen Sie ihn oder senden Sie einen neuen.",
  newCode: "Ein neuer Code sollte unterwegs sein. Frühere Codes gelten weiter bis zu ihrem Ablauf.",
  codeOfApp: "Geben Sie ein, was Ihre Authenticator-App für {email} zeigt. Sie haben Zeit bis {time}.",
  enterDigitsOfApp: "Geben Sie die sechs Ziffern ein, die die App zeigt.",
  wrongCodeOfApp:
    "Er ist falsch, wurde schon benutzt oder kam zu spät. Warten Sie auf den nächsten. Wenn auch der nicht gilt, melden Sie sich noch einmal an.",
  anyCode: "Code",
  anyCodeHint: "Geben Sie den Code für {email} ein. Sie haben Zeit bis {time}.",
  enterAnyCode: "Geben Sie den Code ein.",
  wrongAnyCode: "Er ist falsch oder gilt nicht mehr. Prüfen Sie ihn oder melden Sie sich noch einmal an.",
  useRecoveryCode: "Wiederherstellungscode verwenden",
  enterRecoveryTitle: "Wiederherstellungscode eingeben",
  recoveryHint:
    "Einer der Codes, die Sie beim Einrichten der App oder des Passkeys aufbewahrt haben. Jeder gilt einmal. Wenn Sie keinen haben, fragen Sie die Betreiber des Back Office.",
  recoveryCode: "Wiederherstellungscode",
  enterRecoveryCode: "Geben Sie einen Ihrer Wiederherstellungscodes ein.",
  wrongRecoveryCode: "Er ist falsch, wurde schon benutzt oder kam zu spät. Prüfen Sie ihn oder melden Sie sich noch einmal an.",
  toCode: "Zurück zum anderen Code",
  recoveryCodeUsed:
    "Dieser Wiederherstellungscode ist verbraucht. Unbenutzte Codes: {count}. Wenn das Telefon oder der Schlüssel verloren ist, richten Sie Ersatz ein.",

  usePasskeyTitle: "Passkey verwenden",
  passkeyHint: "Zeigen Sie mit einem Passkey, dass Sie {email} sind. Sie haben Zeit bis {time}.",
  noPasskeyHere:
    "{email} hat als zweiten Faktor einen Passkey, und dieser Browser hat keine Passkeys. Verwenden Sie einen anderen Browser oder einen Wiederherstellungscode. Sie haben Zeit bis {time}.",
  usePasskey: "Den Passkey verwenden",
  useCode: "Stattdessen einen Code eingeben",
  toPasskey: "Zurück zum Passkey",
  wrongPasskey:
    "Der Passkey wurde nicht angenommen oder kam zu spät. Versuchen Sie es noch einmal; wenn auch das nicht gelingt, melden Sie sich noch einmal an.",

  forgotHint: "Geben Sie Ihre Adresse ein. Eine E-Mail bringt einen Link, mit dem Sie ein neues Passwort wählen.",
  sendLink: "Link senden",
  toSignIn: "Zurück zur Anmeldung",
  lookAtMails: "Sehen Sie in Ihre E-Mails",
  mailedTo: "Wenn es für {email} ein Konto gibt, ist ein Link dorthin unterwegs.",
  mailedHint:
    "Nach einigen Minuten noch nichts da? Sehen Sie im Spam-Ordner nach, prüfen Sie die Adresse und fordern Sie einen neuen Link an. Konten richten nur die Betreiber des Back Office ein.",
  askAgain: "Neuen Link anfordern",

  chooseTitle: "Passwort wählen",
  openLink: "Link öffnen",
  forReset: "Sie haben diesen Link angefordert, weil das Passwort vergessen war. Er gilt bis {time}.",
  forInvitation: "Willkommen im Back Office. Diese Einladung gilt bis {time}.",
  newPassword: "Neues Passwort",
  passwordHint:
    "Mindestens 8 Zeichen und keines der gängigen Passwörter. Einige Wörter, die Sie sich merken können, sind besser als Zeichen, die Sie vergessen.",
  setPassword: "Passwort setzen",
  enterNewPassword: "Geben Sie ein neues Passwort ein.",
  isSet: "Ihr Passwort ist gesetzt",
  isSetHint: "Melden Sie sich jetzt damit an. Wo {email} angemeldet war, ist das beendet.",
  isSetForAnother: "Es ist das Passwort von {email}. In diesem Browser ist {other} angemeldet.",
  toSignInNow: "Zur Anmeldung",
  toAccount: "Zum Konto von {email}",
  deadTitle: "Dieser Link funktioniert nicht",
  deadHint: "Er wurde benutzt, ist abgelaufen oder unvollständig. Links funktionieren einmal und nur für begrenzte Zeit.",
  noLinkTitle: "Hier ist kein Link",
  noLink: "Öffnen Sie diese Seite mit dem Link aus der E-Mail. Nach einem Neuladen öffnen Sie ihn noch einmal.",

  signedIn: "Sie sind angemeldet",
  asWhom: "Als {email}, seit {time}.",
  howYouSignIn: "Wie Sie sich anmelden",
  byPassword: "Passwort",
  byCode: "Ein Code per E-Mail bei jeder Anmeldung",
  byNoCode: "Kein zweiter Faktor",
  byApp: "Authenticator-App, seit {time}",
  byPasskey: "Passkey {name}",
  recoveryCodes: "Unbenutzte Wiederherstellungscodes: {count}",
  isFresh: "Ihre Anmeldung gilt bis {time} als neu.",
  isNotFresh: "Ihre Anmeldung ist einige Zeit her: Manche Änderungen können verlangen, dass Sie sich noch einmal anmelden.",
  changePassword: "Passwort ändern",
  changeHint: "Alle Ihre anderen Sitzungen werden beendet.",
  currentPassword: "Bisheriges Passwort",
  enterCurrentPassword: "Geben Sie Ihr bisheriges Passwort ein.",
  wrongPassword: "Das ist nicht Ihr bisheriges Passwort.",
  isChanged: "Ihr Passwort ist geändert. Alle anderen Sitzungen sind beendet.",

  setUpApp: "Authenticator-App einrichten",
  setUpAnother: "Andere App einrichten",
  removeApp: "App entfernen",
  newRecoveryCodes: "Neue Wiederherstellungscodes",
  noApps: "Authenticator-Apps sind hier abgeschaltet.",
  enrolHint:
    "Scannen Sie das Bild mit einer Authenticator-App auf Ihrem Telefon. Geben Sie dann die sechs Ziffern ein, die sie zeigt. Alle Ihre anderen Sitzungen werden beendet.",
  enrolReplaces: "Die bisherige App gilt bis dahin und danach nicht mehr.",
  qrCode: "QR-Code für die Authenticator-App",
  keyHint: "Wenn Sie es nicht scannen können, tippen Sie diesen Schlüssel in die App:",
  copyKey: "Schlüssel kopieren",
  openApp: "App auf diesem Gerät öffnen",
  wrongFirstCode:
    "Er ist falsch. Warten Sie auf den nächsten und prüfen Sie, ob die Uhr des Telefons richtig geht. Wenn auch der nicht gilt, brechen Sie ab und beginnen Sie noch einmal.",
  appIsSetUp: "Die Authenticator-App ist eingerichtet. Alle anderen Sitzungen sind beendet.",
  yourRecoveryCodes: "Ihre Wiederherstellungscodes",
  keepHint:
    "Jeder gilt einmal anstelle der App oder des Passkeys, wenn das Gerät verloren ist. Bewahren Sie sie getrennt vom Gerät auf: auf Papier oder in einem Passwortmanager. Sie werden nur jetzt gezeigt.",
  codesOf: "Wiederherstellungscodes von {email}, {time}",
  copyCodes: "Codes kopieren",
  print: "Drucken",
  isCopied: "Kopiert.",
  isSelected: "Der Browser lässt diese Seite nicht kopieren. Der Text ist markiert: Kopieren Sie ihn selbst.",
  areKept: "Ich habe sie aufbewahrt",
  renewTitle: "Neue Wiederherstellungscodes erzeugen?",
  renewHint: "Die bisherigen gelten dann nicht mehr, und alle Ihre anderen Sitzungen werden beendet.",
  makeCodes: "Neue Codes erzeugen",
  noCodesWithoutApp: "Es gibt keine Authenticator-App und keinen Passkey mehr, für die die Codes einspringen könnten.",
  removeTitle: "Authenticator-App entfernen?",
  removeHint:
    "Ab der nächsten Anmeldung kommt stattdessen ein Code per E-Mail. Die Wiederherstellungscodes gelten dann nicht mehr, und alle Ihre anderen Sitzungen werden beendet.",
  removeOneHint: "Ihre anderen Faktoren bleiben, wie sie sind. Alle Ihre anderen Sitzungen werden beendet.",
  appIsRemoved: "Die Authenticator-App ist entfernt. Alle anderen Sitzungen sind beendet.",

  passkey: "Passkey",
  passkeySince: "Seit {time}, {last}",
  passkeyUsed: "zuletzt benutzt {time}",
  passkeyUnused: "noch nicht benutzt",
  isSynced: "Synchronisiert",
  isSecond: "Nur nach dem Passwort",
  addPasskey: "Passkey hinzufügen",
  addPasskeyHint:
    "Ein Telefon, ein Computer, ein Passwortmanager oder ein Sicherheitsschlüssel bewahrt ihn auf. Er ersetzt bei der Anmeldung den Code, und die meisten ersetzen auch das Passwort. Alle Ihre anderen Sitzungen werden beendet.",
  name: "Name",
  nameHint: "Daran erkennen Sie den Passkey wieder: nehmen Sie zum Beispiel den Namen des Geräts.",
  enterName: "Geben Sie einen Namen ein.",
  passkeyIsAdded: "Der Passkey ist hinzugefügt. Alle anderen Sitzungen sind beendet.",
  passkeyRefused:
    "Dieser Passkey konnte nicht hinzugefügt werden. Versuchen Sie es noch einmal oder verwenden Sie ein anderes Gerät.",
  noPasskeys: "Passkeys sind hier abgeschaltet.",
  againWithPasskey:
    "Der Passkey ist hinzugefügt, und alle anderen Sitzungen sind beendet. Melden Sie sich jetzt damit an, damit diese Sitzung als damit bestätigt gilt.",
  removeIt: "Entfernen",
  removePasskeyNamed: "Den Passkey {name} entfernen",
  removePasskeyTitle: "Den Passkey {name} entfernen?",
  removeFromDevice: "Das Gerät hat den Passkey dann immer noch: Entfernen Sie ihn auch dort.",
  removePasskey: "Passkey entfernen",
  passkeyIsRemoved: "Der Passkey ist entfernt. Alle anderen Sitzungen sind beendet.",

  sessions: "Wo Sie angemeldet sind",
  thisBrowser: "Dieser Browser",
  unknownProgram: "Unbekanntes Programm",
  lastUsed: "{network}, zuletzt benutzt {time}",
  signOut: "Abmelden",
  signOutOne: "Abmelden: {name}",
  signOutOthers: "Alle anderen abmelden",
  signOutEverywhere: "Überall abmelden",
  sessionIsOver: "Die Sitzung ist beendet.",
  othersAreOver: "Alle anderen Sitzungen sind beendet.",
  isSignedOut: "Sie sind abgemeldet.",
  signedOutUntold: "Sie sind hier abgemeldet. Der Server war nicht zu erreichen und bemerkt es innerhalb eines Tages.",

  signInAgain: "Noch einmal anmelden",
  againHint: "Ihre Anmeldung ist einige Zeit her. Für diese Änderung muss der Server wissen, dass Sie es noch sind.",
  orPassword: "Oder mit dem Passwort:",
};

/** @type {Words} */
const SPANISH = {
  says: {
    invalid_credentials: "La dirección de correo o la contraseña no es correcta.",
    invalid_two_factor: "No se ha aceptado el código.",
    invalid_passkey: "No se ha aceptado la llave de acceso.",
    invalid_link: "Este enlace no funciona.",
    invalid_refresh_token: "Se ha cerrado la sesión. Inicie sesión de nuevo.",
    missing_access_token: "Se ha cerrado la sesión. Inicie sesión de nuevo.",
    invalid_access_token: "Se ha cerrado la sesión. Inicie sesión de nuevo.",
    signed_out: "Se ha cerrado la sesión. Inicie sesión de nuevo.",
    reauthentication_required: "Inicie sesión de nuevo para este cambio.",
    another_person: "Ha iniciado sesión otra persona. No se ha cambiado nada.",
    passkey_cancelled: "No se ha usado ninguna llave de acceso: se canceló o tardó demasiado.",
    passkey_unusable: "Este navegador no puede usar llaves de acceso aquí.",
    wrong_password: "La contraseña actual no es correcta.",
    too_many_passkeys: "La cuenta ya tiene todas las llaves de acceso que puede tener. Quite una primero.",
    passkey_known: "Este dispositivo ya tiene una llave de acceso de la cuenta.",
    not_found: "Esta sesión ya está cerrada.",
    invalid_request: "Revise lo que está marcado abajo.",
    too_many_attempts: "Demasiados intentos.",
    request_timeout: "La conexión es lenta. Inténtelo de nuevo.",
    internal:
      "Algo ha fallado por nuestra parte. Inténtelo de nuevo; si sigue igual, comuníquelo con el número de abajo.",
    unavailable: "El servicio no está disponible en este momento. Inténtelo de nuevo enseguida.",
    overloaded: "El servicio está ocupado en este momento. Inténtelo de nuevo enseguida.",
    network: "No se puede contactar con el servidor. Compruebe la conexión e inténtelo de nuevo.",
    unexpected_answer: "No se puede contactar con el servidor. Compruebe la conexión e inténtelo de nuevo.",
  },
  ourMistake: "Algo ha fallado. Vuelva a cargar la página e inténtelo de nuevo.",
  number: "Número: {number}",
  canTryAgainIn: "Puede intentarlo de nuevo en {time}.",
  waitFor: "Espere {time}.",
  canTryAgain: "Ya puede intentarlo de nuevo.",

  signIn: "Iniciar sesión",
  address: "Dirección de correo",
  password: "Contraseña",
  show: "Mostrar",
  showPassword: "Mostrar contraseña",
  forgotten: "¿Ha olvidado la contraseña?",
  signInWithPasskey: "Iniciar sesión con una llave de acceso",
  enterAddress: "Introduzca su dirección de correo.",
  enterPassword: "Introduzca su contraseña.",
  cancel: "Cancelar",

  enterCode: "Introduzca el código",
  codeSent: "Se ha enviado un código a {email}. Vale hasta las {time}.",
  code: "Código de seis cifras",
  confirm: "Confirmar",
  sendAnother: "Enviar otro código",
  anotherAddress: "Usar otra dirección",
  enterDigits: "Introduzca las seis cifras del correo.",
  wrongCode: "No es correcto o ya no vale. Compruébelo o pida otro.",
  newCode: "Debería llegar un código nuevo. Los anteriores siguen valiendo hasta que caduquen.",
  codeOfApp: "Introduzca lo que su aplicación de autenticación muestra para {email}. Tiene hasta las {time}.",
  enterDigitsOfApp: "Introduzca las seis cifras que muestra la aplicación.",
  wrongCodeOfApp:
    "No es correcto, ya se ha usado o ha llegado tarde. Espere al siguiente. Si tampoco se acepta, inicie sesión de nuevo.",
  anyCode: "Código",
  anyCodeHint: "Introduzca el código para {email}. Tiene hasta las {time}.",
  enterAnyCode: "Introduzca el código.",
  wrongAnyCode: "No es correcto o ya no vale. Compruébelo o inicie sesión de nuevo.",
  useRecoveryCode: "Usar un código de recuperación",
  enterRecoveryTitle: "Introduzca un código de recuperación",
  recoveryHint:
    "Uno de los códigos que guardó al configurar la aplicación o la llave de acceso. Cada uno vale una vez. Si no tiene ninguno, pregunte a los responsables del Back Office.",
  recoveryCode: "Código de recuperación",
  enterRecoveryCode: "Introduzca uno de sus códigos de recuperación.",
  wrongRecoveryCode: "No es correcto, ya se ha usado o ha llegado tarde. Compruébelo o inicie sesión de nuevo.",
  toCode: "Volver al otro código",
  recoveryCodeUsed:
    "Ese código de recuperación ya está gastado. Códigos sin usar: {count}. Si ha perdido el teléfono o la llave, configure otro.",

  usePasskeyTitle: "Use su llave de acceso",
  passkeyHint: "Demuestre con una llave de acceso que es {email}. Tiene hasta las {time}.",
  noPasskeyHere:
    "El segundo factor de {email} es una llave de acceso, y este navegador no las tiene. Use otro navegador o un código de recuperación. Tiene hasta las {time}.",
  usePasskey: "Usar la llave de acceso",
  useCode: "Introducir un código",
  toPasskey: "Volver a la llave de acceso",
  wrongPasskey:
    "No se ha aceptado la llave de acceso, o ha llegado tarde. Inténtelo de nuevo; si tampoco se acepta, inicie sesión de nuevo.",

  forgotHint: "Introduzca su dirección. Recibirá un correo con un enlace para elegir una contraseña nueva.",
  sendLink: "Enviar el enlace",
  toSignIn: "Volver al inicio de sesión",
  lookAtMails: "Mire su correo",
  mailedTo: "Si {email} tiene una cuenta, se le ha enviado un enlace.",
  mailedHint:
    "¿No ha llegado nada en unos minutos? Mire en la carpeta de correo no deseado, compruebe la dirección y pida otro. Solo los responsables del Back Office crean cuentas.",
  askAgain: "Pedir otro enlace",

  chooseTitle: "Elija una contraseña",
  openLink: "Abrir el enlace",
  forReset: "Ha pedido este enlace porque olvidó la contraseña. Vale hasta {time}.",
  forInvitation: "Le damos la bienvenida al Back Office. Esta invitación vale hasta {time}.",
  newPassword: "Contraseña nueva",
  passwordHint:
    "Al menos 8 caracteres, y ninguna de las contraseñas comunes. Unas palabras que pueda recordar son mejores que signos que no.",
  setPassword: "Guardar la contraseña",
  enterNewPassword: "Introduzca una contraseña nueva.",
  isSet: "Su contraseña está guardada",
  isSetHint: "Inicie sesión con ella. Las sesiones de {email} se han cerrado.",
  isSetForAnother: "Es la contraseña de {email}. En este navegador la sesión es de {other}.",
  toSignInNow: "Ir al inicio de sesión",
  toAccount: "Ir a la cuenta de {email}",
  deadTitle: "Este enlace no funciona",
  deadHint: "Se ha usado, ha caducado o no está completo. Los enlaces funcionan una vez y por un tiempo limitado.",
  noLinkTitle: "Aquí no hay ningún enlace",
  noLink: "Abra esta página con el enlace del correo. Si la ha vuelto a cargar, abra el enlace otra vez.",

  signedIn: "Ha iniciado sesión",
  asWhom: "Como {email}, desde {time}.",
  howYouSignIn: "Cómo inicia sesión",
  byPassword: "Contraseña",
  byCode: "Un código por correo en cada inicio de sesión",
  byNoCode: "Sin segundo factor",
  byApp: "Aplicación de autenticación, desde {time}",
  byPasskey: "Llave de acceso {name}",
  recoveryCodes: "Códigos de recuperación sin usar: {count}",
  isFresh: "Su inicio de sesión se considera reciente hasta las {time}.",
  isNotFresh: "Hace tiempo que inició sesión: algunos cambios pueden pedirle que lo haga de nuevo.",
  changePassword: "Cambiar la contraseña",
  changeHint: "Se cerrarán todas sus demás sesiones.",
  currentPassword: "Contraseña actual",
  enterCurrentPassword: "Introduzca su contraseña actual.",
  wrongPassword: "Esta no es su contraseña actual.",
  isChanged: "Su contraseña ha cambiado. Las demás sesiones se han cerrado.",

  setUpApp: "Configurar una aplicación de autenticación",
  setUpAnother: "Configurar otra aplicación",
  removeApp: "Quitar la aplicación",
  newRecoveryCodes: "Nuevos códigos de recuperación",
  noApps: "Las aplicaciones de autenticación están desactivadas aquí.",
  enrolHint:
    "Escanee la imagen con una aplicación de autenticación en su teléfono. Después introduzca las seis cifras que muestra. Se cerrarán todas sus demás sesiones.",
  enrolReplaces: "La aplicación anterior vale hasta entonces, y después ya no.",
  qrCode: "Código QR para la aplicación de autenticación",
  keyHint: "Si no puede escanearla, escriba esta clave en la aplicación:",
  copyKey: "Copiar la clave",
  openApp: "Abrir una aplicación en este dispositivo",
  wrongFirstCode:
    "No es correcto. Espere al siguiente y compruebe que el teléfono tiene bien la hora. Si tampoco se acepta, cancele y empiece de nuevo.",
  appIsSetUp: "La aplicación de autenticación está configurada. Las demás sesiones se han cerrado.",
  yourRecoveryCodes: "Sus códigos de recuperación",
  keepHint:
    "Cada uno vale una vez en lugar de la aplicación o de la llave de acceso, si pierde el dispositivo. Guárdelos separados del dispositivo: en papel o en un gestor de contraseñas. Solo se muestran ahora.",
  codesOf: "Códigos de recuperación de {email}, {time}",
  copyCodes: "Copiar los códigos",
  print: "Imprimir",
  isCopied: "Copiado.",
  isSelected: "El navegador no deja copiar a esta página. El texto está seleccionado: cópielo usted.",
  areKept: "Los he guardado",
  renewTitle: "¿Crear nuevos códigos de recuperación?",
  renewHint: "Los anteriores dejarán de valer, y se cerrarán todas sus demás sesiones.",
  makeCodes: "Crear nuevos códigos",
  noCodesWithoutApp:
    "Ya no hay ninguna aplicación de autenticación ni llave de acceso a la que los códigos puedan sustituir.",
  removeTitle: "¿Quitar la aplicación de autenticación?",
  removeHint:
    "Desde el próximo inicio de sesión recibirá un código por correo en su lugar. Los códigos de recuperación dejarán de valer, y se cerrarán todas sus demás sesiones.",
  removeOneHint: "Sus demás factores se quedan como están. Se cerrarán todas sus demás sesiones.",
  appIsRemoved: "Se ha quitado la aplicación de autenticación. Las demás sesiones se han cerrado.",

  passkey: "Llave de acceso",
  passkeySince: "Desde {time}, {last}",
  passkeyUsed: "último uso: {time}",
  passkeyUnused: "sin usar todavía",
  isSynced: "Sincronizada",
  isSecond: "Solo tras la contraseña",
  addPasskey: "Añadir una llave de acceso",
  addPasskeyHint:
    "La guarda un teléfono, un ordenador, un gestor de contraseñas o una llave de seguridad. Sustituye al código al iniciar sesión, y la mayoría sustituye también a la contraseña. Se cerrarán todas sus demás sesiones.",
  name: "Nombre",
  nameHint: "Para reconocerla después: por ejemplo, el nombre del dispositivo.",
  enterName: "Introduzca un nombre.",
  passkeyIsAdded: "Se ha añadido la llave de acceso. Las demás sesiones se han cerrado.",
  passkeyRefused: "No se ha podido añadir esta llave de acceso. Inténtelo de nuevo o use otro dispositivo.",
  noPasskeys: "Las llaves de acceso están desactivadas aquí.",
  againWithPasskey:
    "Se ha añadido la llave de acceso, y las demás sesiones se han cerrado. Inicie sesión con ella ahora, para que esta sesión cuente como confirmada con ella.",
  removeIt: "Quitar",
  removePasskeyNamed: "Quitar la llave de acceso {name}",
  removePasskeyTitle: "¿Quitar la llave de acceso {name}?",
  removeFromDevice: "El dispositivo seguirá teniendo la llave de acceso: quítela también ahí.",
  removePasskey: "Quitar la llave de acceso",
  passkeyIsRemoved: "Se ha quitado la llave de acceso. Las demás sesiones se han cerrado.",

  sessions: "Dónde ha iniciado sesión",
  thisBrowser: "Este navegador",
  unknownProgram: "Programa desconocido",
  lastUsed: "{network}, último uso: {time}",
  signOut: "Cerrar sesión",
  signOutOne: "Cerrar sesión: {name}",
  signOutOthers: "Cerrar todas las demás",
  signOutEverywhere: "Cerrar sesión en todas partes",
  sessionIsOver: "La sesión se ha cerrado.",
  othersAreOver: "Las demás sesiones se han cerrado.",
  isSignedOut: "Ha cerrado la sesión.",
  signedOutUntold: "Ha cerrado la sesión aquí. No se pudo avisar al servidor, que lo notará en un día.",

  signInAgain: "Iniciar sesión de nuevo",
  againHint: "Hace tiempo que inició sesión. Para este cambio el servidor tiene que saber que sigue siendo usted.",
  orPassword: "O con la contraseña:",
};

/** @type {Words} */
const FRENCH = {
  says: {
    invalid_credentials: "L’adresse e-mail ou le mot de passe est incorrect.",
    invalid_two_factor: "Le code n’a pas été accepté.",
    invalid_passkey: "La clé d’accès n’a pas été acceptée.",
    invalid_link: "Ce lien ne fonctionne pas.",
    invalid_refresh_token: "Vous avez été déconnecté. Connectez-vous à nouveau.",
    missing_access_token: "Vous avez été déconnecté. Connectez-vous à nouveau.",
    invalid_access_token: "Vous avez été déconnecté. Connectez-vous à nouveau.",
    signed_out: "Vous avez été déconnecté. Connectez-vous à nouveau.",
    reauthentication_required: "Reconnectez-vous pour cette modification.",
    another_person: "Quelqu’un d’autre a été connecté. Rien n’a été modifié.",
    passkey_cancelled: "Aucune clé d’accès n’a servi : annulation, ou délai dépassé.",
    passkey_unusable: "Ce navigateur ne peut pas utiliser de clés d’accès ici.",
    wrong_password: "Le mot de passe actuel est incorrect.",
    too_many_passkeys: "Le compte a déjà autant de clés d’accès qu’il peut en avoir. Supprimez-en une d’abord.",
    passkey_known: "Cet appareil a déjà une clé d’accès du compte.",
    not_found: "Cette session est déjà terminée.",
    invalid_request: "Vérifiez ce qui est marqué ci-dessous.",
    too_many_attempts: "Trop de tentatives.",
    request_timeout: "La connexion est lente. Réessayez.",
    internal:
      "Une erreur s’est produite de notre côté. Réessayez ; si elle persiste, signalez-la avec le numéro ci-dessous.",
    unavailable: "Le service est indisponible pour le moment. Réessayez dans un instant.",
    overloaded: "Le service est occupé pour le moment. Réessayez dans un instant.",
    network: "Le serveur est injoignable. Vérifiez la connexion et réessayez.",
    unexpected_answer: "Le serveur est injoignable. Vérifiez la connexion et réessayez.",
  },
  ourMistake: "Une erreur s’est produite. Rechargez la page et réessayez.",
  number: "Numéro : {number}",
  canTryAgainIn: "Vous pourrez réessayer dans {time}.",
  waitFor: "Attendez {time}.",
  canTryAgain: "Vous pouvez réessayer maintenant.",

  signIn: "Se connecter",
  address: "Adresse e-mail",
  password: "Mot de passe",
  show: "Afficher",
  showPassword: "Afficher le mot de passe",
  forgotten: "Mot de passe oublié ?",
  signInWithPasskey: "Se connecter avec une clé d’accès",
  enterAddress: "Saisissez votre adresse e-mail.",
  enterPassword: "Saisissez votre mot de passe.",
  cancel: "Annuler",

  enterCode: "Saisissez le code",
  codeSent: "Un code est en route vers {email}. Il est valable jusqu’à {time}.",
  code: "Code à six chiffres",
  confirm: "Confirmer",
  sendAnother: "Envoyer un nouveau code",
  anotherAddress: "Utiliser une autre adresse",
  enterDigits: "Saisissez les six chiffres du message.",
  wrongCode: "Il est incorrect ou n’est plus valable. Vérifiez-le ou envoyez-en un nouveau.",
  newCode: "Un nouveau code devrait arriver. Les codes précédents restent valables jusqu’à leur expiration.",
  codeOfApp: "Saisissez ce que votre application d’authentification affiche pour {email}. Vous avez jusqu’à {time}.",
  enterDigitsOfApp: "Saisissez les six chiffres que l’application affiche.",
  wrongCodeOfApp:
    "Il est incorrect, a déjà servi ou arrive trop tard. Attendez le suivant. S’il n’est pas accepté non plus, reconnectez-vous.",
  anyCode: "Code",
  anyCodeHint: "Saisissez le code pour {email}. Vous avez jusqu’à {time}.",
  enterAnyCode: "Saisissez le code.",
  wrongAnyCode: "Il est incorrect ou n’est plus valable. Vérifiez-le ou reconnectez-vous.",
  useRecoveryCode: "Utiliser un code de récupération",
  enterRecoveryTitle: "Saisissez un code de récupération",
  recoveryHint:
    "L’un des codes que vous avez conservés en configurant l’application ou la clé d’accès. Chacun sert une fois. Si vous n’en avez pas, adressez-vous aux responsables du Back Office.",
  recoveryCode: "Code de récupération",
  enterRecoveryCode: "Saisissez l’un de vos codes de récupération.",
  wrongRecoveryCode: "Il est incorrect, a déjà servi ou arrive trop tard. Vérifiez-le ou reconnectez-vous.",
  toCode: "Retour à l’autre code",
  recoveryCodeUsed:
    "Ce code de récupération a maintenant servi. Codes inutilisés : {count}. Si le téléphone ou la clé est perdu, configurez-en un autre.",

  usePasskeyTitle: "Utilisez votre clé d’accès",
  passkeyHint: "Montrez avec une clé d’accès que vous êtes {email}. Vous avez jusqu’à {time}.",
  noPasskeyHere:
    "Le second facteur de {email} est une clé d’accès, et ce navigateur n’en a pas. Utilisez un autre navigateur ou un code de récupération. Vous avez jusqu’à {time}.",
  usePasskey: "Utiliser la clé d’accès",
  useCode: "Saisir plutôt un code",
  toPasskey: "Retour à la clé d’accès",
  wrongPasskey:
    "La clé d’accès n’a pas été acceptée, ou elle arrive trop tard. Réessayez ; si elle n’est pas acceptée non plus, reconnectez-vous.",

  forgotHint: "Saisissez votre adresse. Un message vous apporte un lien pour choisir un nouveau mot de passe.",
  sendLink: "Envoyer le lien",
  toSignIn: "Retour à la connexion",
  lookAtMails: "Consultez vos messages",
  mailedTo: "Si {email} a un compte, un lien est en route vers cette adresse.",
  mailedHint:
    "Rien après quelques minutes ? Regardez dans les indésirables, vérifiez l’adresse et demandez un autre lien. Seuls les responsables du Back Office créent des comptes.",
  askAgain: "Demander un autre lien",

  chooseTitle: "Choisissez un mot de passe",
  openLink: "Ouvrir le lien",
  forReset: "Vous avez demandé ce lien parce que le mot de passe était oublié. Il est valable jusqu’à {time}.",
  forInvitation: "Bienvenue dans le Back Office. Cette invitation est valable jusqu’à {time}.",
  newPassword: "Nouveau mot de passe",
  passwordHint:
    "Au moins 8 caractères, et aucun des mots de passe courants. Quelques mots que vous retenez valent mieux que des signes que vous oubliez.",
  setPassword: "Enregistrer le mot de passe",
  enterNewPassword: "Saisissez un nouveau mot de passe.",
  isSet: "Votre mot de passe est enregistré",
  isSetHint: "Connectez-vous avec lui. Les sessions de {email} sont terminées.",
  isSetForAnother: "C’est le mot de passe de {email}. Dans ce navigateur, {other} est connecté.",
  toSignInNow: "Aller à la connexion",
  toAccount: "Aller au compte de {email}",
  deadTitle: "Ce lien ne fonctionne pas",
  deadHint: "Il a été utilisé, a expiré ou est incomplet. Les liens fonctionnent une fois, pour un temps limité.",
  noLinkTitle: "Il n’y a pas de lien ici",
  noLink: "Ouvrez cette page avec le lien du message. Après un rechargement, ouvrez-le encore une fois.",

  signedIn: "Vous êtes connecté",
  asWhom: "En tant que {email}, depuis {time}.",
  howYouSignIn: "Comment vous vous connectez",
  byPassword: "Mot de passe",
  byCode: "Un code par e-mail à chaque connexion",
  byNoCode: "Aucun second facteur",
  byApp: "Application d’authentification, depuis {time}",
  byPasskey: "Clé d’accès {name}",
  recoveryCodes: "Codes de récupération inutilisés : {count}",
  isFresh: "Votre connexion est considérée comme récente jusqu’à {time}.",
  isNotFresh: "Votre connexion date un peu : certaines modifications peuvent vous demander de vous reconnecter.",
  changePassword: "Changer le mot de passe",
  changeHint: "Toutes vos autres sessions se terminent.",
  currentPassword: "Mot de passe actuel",
  enterCurrentPassword: "Saisissez votre mot de passe actuel.",
  wrongPassword: "Ce n’est pas votre mot de passe actuel.",
  isChanged: "Votre mot de passe est changé. Toutes les autres sessions sont terminées.",

  setUpApp: "Configurer une application d’authentification",
  setUpAnother: "Configurer une autre application",
  removeApp: "Supprimer l’application",
  newRecoveryCodes: "Nouveaux codes de récupération",
  noApps: "Les applications d’authentification sont désactivées ici.",
  enrolHint:
    "Scannez l’image avec une application d’authentification sur votre téléphone. Saisissez ensuite les six chiffres qu’elle affiche. Toutes vos autres sessions se terminent.",
  enrolReplaces: "L’application précédente fonctionne jusque-là, et plus après.",
  qrCode: "Code QR pour l’application d’authentification",
  keyHint: "Si vous ne pouvez pas la scanner, tapez cette clé dans l’application :",
  copyKey: "Copier la clé",
  openApp: "Ouvrir une application sur cet appareil",
  wrongFirstCode:
    "Il est incorrect. Attendez le suivant, et vérifiez que le téléphone est à l’heure. S’il n’est pas accepté non plus, annulez et recommencez.",
  appIsSetUp: "L’application d’authentification est configurée. Toutes les autres sessions sont terminées.",
  yourRecoveryCodes: "Vos codes de récupération",
  keepHint:
    "Chacun sert une fois à la place de l’application ou de la clé d’accès, si l’appareil est perdu. Conservez-les à part de l’appareil : sur papier ou dans un gestionnaire de mots de passe. Ils ne s’affichent que maintenant.",
  codesOf: "Codes de récupération de {email}, {time}",
  copyCodes: "Copier les codes",
  print: "Imprimer",
  isCopied: "Copié.",
  isSelected: "Le navigateur ne laisse pas cette page copier. Le texte est sélectionné : copiez-le vous-même.",
  areKept: "Je les ai conservés",
  renewTitle: "Créer de nouveaux codes de récupération ?",
  renewHint: "Les précédents ne fonctionneront plus, et toutes vos autres sessions se terminent.",
  makeCodes: "Créer de nouveaux codes",
  noCodesWithoutApp:
    "Il n’y a plus d’application d’authentification ni de clé d’accès que les codes pourraient remplacer.",
  removeTitle: "Supprimer l’application d’authentification ?",
  removeHint:
    "Dès la prochaine connexion, un code arrive par e-mail à la place. Les codes de récupération ne fonctionneront plus, et toutes vos autres sessions se terminent.",
  removeOneHint: "Vos autres facteurs ne changent pas. Toutes vos autres sessions se terminent.",
  appIsRemoved: "L’application d’authentification est supprimée. Toutes les autres sessions sont terminées.",

  passkey: "Clé d’accès",
  passkeySince: "Depuis {time}, {last}",
  passkeyUsed: "dernière utilisation : {time}",
  passkeyUnused: "pas encore utilisée",
  isSynced: "Synchronisée",
  isSecond: "Seulement après le mot de passe",
  addPasskey: "Ajouter une clé d’accès",
  addPasskeyHint:
    "Un téléphone, un ordinateur, un gestionnaire de mots de passe ou une clé de sécurité la conserve. Elle remplace le code à la connexion, et la plupart remplacent aussi le mot de passe. Toutes vos autres sessions se terminent.",
  name: "Nom",
  nameHint: "Pour la reconnaître ensuite : par exemple, le nom de l’appareil.",
  enterName: "Saisissez un nom.",
  passkeyIsAdded: "La clé d’accès est ajoutée. Toutes les autres sessions sont terminées.",
  passkeyRefused: "Cette clé d’accès n’a pas pu être ajoutée. Réessayez, ou utilisez un autre appareil.",
  noPasskeys: "Les clés d’accès sont désactivées ici.",
  againWithPasskey:
    "La clé d’accès est ajoutée, et toutes les autres sessions sont terminées. Connectez-vous maintenant avec elle, pour que cette session compte comme confirmée par elle.",
  removeIt: "Supprimer",
  removePasskeyNamed: "Supprimer la clé d’accès {name}",
  removePasskeyTitle: "Supprimer la clé d’accès {name} ?",
  removeFromDevice: "L’appareil a encore la clé d’accès : supprimez-la là aussi.",
  removePasskey: "Supprimer la clé d’accès",
  passkeyIsRemoved: "La clé d’accès est supprimée. Toutes les autres sessions sont terminées.",

  sessions: "Où vous êtes connecté",
  thisBrowser: "Ce navigateur",
  unknownProgram: "Programme inconnu",
  lastUsed: "{network}, dernière utilisation : {time}",
  signOut: "Se déconnecter",
  signOutOne: "Déconnecter {name}",
  signOutOthers: "Déconnecter toutes les autres",
  signOutEverywhere: "Se déconnecter partout",
  sessionIsOver: "La session est terminée.",
  othersAreOver: "Toutes les autres sessions sont terminées.",
  isSignedOut: "Vous êtes déconnecté.",
  signedOutUntold: "Vous êtes déconnecté ici. Le serveur n’a pas pu être prévenu, et le remarquera dans la journée.",

  signInAgain: "Se reconnecter",
  againHint: "Votre connexion date un peu. Pour cette modification, le serveur doit savoir que c’est toujours vous.",
  orPassword: "Ou avec le mot de passe :",
};

/** @type {Record<string, Words>} */
const LANGUAGES = { en: { says: SAYS, ...ENGLISH }, de: GERMAN, es: SPANISH, fr: FRENCH };

/** The first of the browser's languages that the pages have, as the browser calls it; English otherwise. */
const tag = navigator.languages.find((tag) => languageOf(tag) in LANGUAGES) ?? "en";
export const language = languageOf(tag);
export const words = LANGUAGES[language];

/**
 * `de` of `de-CH`.
 * @param {string} tag
 */
function languageOf(tag) {
  return tag.split("-")[0].toLowerCase();
}

/**
 * What the server says of a field: it says it in English.
 * @param {string} field
 * @param {string} message
 */
export function saidOf(field, message) {
  /** @type {Record<string, string>} */
  const names = { ...ENGLISH, email: ENGLISH.address };
  // A message goes on after the name of its field, or is a sentence by itself.
  const sentence = message.startsWith("the ") ? message : `${names[field] ?? field} ${message}`;
  return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`;
}

/**
 * A sentence with its blanks filled in.
 * @param {string} sentence
 * @param {Record<string, string>} values
 */
export function filled(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (blank, name) => values[name] ?? blank);
}

/**
 * The same as nodes, of which the values may be elements.
 * @param {string} sentence
 * @param {Record<string, Node>} values
 * @returns {(Node | string)[]}
 */
export function filledWith(sentence, values) {
  // With the parentheses, `split` keeps the names: every second part is one.
  return sentence.split(/\{(\w+)\}/).map((part, index) => (index % 2 ? values[part] : part));
}

/**
 * As the reader's clock shows it.
 * @param {Date} time
 */
export const clock = (time) => time.toLocaleTimeString(tag, { timeStyle: "short" });

/**
 * The same with the day.
 * @param {Date} time
 */
export const dateAndClock = (time) => time.toLocaleString(tag, { dateStyle: "medium", timeStyle: "short" });
