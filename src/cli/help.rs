//! The text below the options in the long help: examples, and notes for newcomers.

/// Below the program's own help.
pub(super) const PROGRAM: &str = "\
First steps:
  backoffice-auth dev                                   try it, with nothing set up
  backoffice-auth --config config.toml doctor           is all good, the database too?
  backoffice-auth --config config.toml user create alice@example.com
  backoffice-auth --config config.toml serve            run it

When a person cannot sign in:
  backoffice-auth explain alice@example.com

Environment:
  BACKOFFICE_AUTH__SECTION__KEY  A setting: BACKOFFICE_AUTH__HTTP__LISTEN is `http.listen`.
                                 Lists are comma-separated. Stronger than the file
  DATABASE_URL                   `database.url`, unless BACKOFFICE_AUTH__DATABASE__URL is set
  RUST_LOG                       `log.filter`, as info,backoffice_auth=debug
  SUDO_USER, USER, LOGNAME       Who is typing, for the audit log: the first that is set

Files:
  FILE                           Settings in TOML that differ from the defaults; see --config
  x_file                         Each secret `x` can be given as the path of a file with it
  ./.dev                         All that `dev` keeps; remove it to start afresh

Exit status:
  0  Done
  1  Refused or failed; one line on standard error says why and what to do
  2  Wrong usage
  78 Wrong settings, of `serve` under a supervisor (NOTIFY_SOCKET), which then need not try again

Results go to standard output; errors, warnings and the log to standard error. Commands that
list or show take --json. Times are UTC.";

/// Below `serve`.
pub(super) const SERVE: &str = "\
It listens on `http.listen` for browsers and services, without TLS, and on
`http.management_listen` for probes and metrics. It says `ready` on standard error, and logs one
line a request there.

SIGTERM or Ctrl-C stops it: not ready for `http.drain_seconds`, then up to 5 seconds for requests
in flight. A supervisor should wait `http.drain_seconds` + 10 seconds before it kills it.

Where NOTIFY_SOCKET is set, as systemd does for `Type=notify`, it tells its supervisor when it serves and
when it stops, and exit status 78 means wrong settings, a wrong master key included: it cannot start
before they are changed. 1 is then a failure that may pass.

Of several instances on one database, one migrates and makes the first signing key; the others wait.";

/// Below `migrate`.
pub(super) const MIGRATE: &str = "\
For `database.migrate = false`, where `serve` runs with a role that owns no tables. It can be run
while instances of this release and of the one before are at work; of several at once, one works.

Example, as the owner of the tables:
  DATABASE_URL=postgres://owner:…@db/backoffice_auth backoffice-auth --config config.toml migrate";

/// Below `user administrator`.
pub(super) const USER_ADMINISTRATOR: &str = "\
Administrators see and change other users over HTTP, under /api/v2/admin. They need an authenticator
app or a passkey (`administration.requires_mfa`), and none of them can make another one, or change one:
that is for operators, here.

Examples:
  backoffice-auth user administrator alice@example.com on
  backoffice-auth user administrator alice@example.com off";

/// Below `user invite`.
pub(super) const USER_INVITE: &str = "\
Needs `links.password_url`, and a server that runs: it sends the mail. The link works for
`links.invitation_ttl_seconds`; afterwards the user can ask for another one on the sign-in page.

Examples:
  backoffice-auth user invite alice@example.com
  backoffice-auth user invite alice@example.com --two-factor off";

/// Below `user link`.
pub(super) const USER_LINK: &str = "\
For a user who cannot ask for a link on the sign-in page. Needs `links.password_url`, and a server
that runs: it sends the mail. The link works for `links.reset_ttl_seconds`, and counts against
`limits.link_mails_per_account`. The password of today works until the link is used.

Example:
  backoffice-auth user link alice@example.com";

/// Below `user create`.
pub(super) const USER_CREATE: &str = "\
A password has 8 to 1024 bytes and at least 8 characters, is not the address, and is not a common
one.

Examples:
  backoffice-auth user create alice@example.com
  backoffice-auth user create alice@example.com --two-factor off --password-stdin < password.txt";

/// Below `user import`.
pub(super) const USER_IMPORT: &str = "\
Users who keep their number of another service keep its access tokens too, while those are taken: see
`key import --help`.

Examples:
  backoffice-auth user import --from keycloak realm.json --dry-run     what would happen?
  backoffice-auth user import --from django users.json
  backoffice-auth user import --from firebase --firebase-config hash-config users.json
  backoffice-auth user import --from table users.csv                   columns by their names
  backoffice-auth user import --from ldap people.ldif --skip-refused";

/// Below `key rotate`.
pub(super) const KEY_ROTATE: &str = "\
The server does it by itself when a key is `keys.rotate_days` old.

Examples:
  backoffice-auth key rotate                     the next key signs after `keys.publish_seconds`
  backoffice-auth key rotate --now               it signs from now on
  backoffice-auth key rotate --purpose refresh   another key signs refresh tokens from now on";

/// Below `key import`.
pub(super) const KEY_IMPORT: &str = "\
Examples:
  backoffice-auth key import signing-key.pem
  backoffice-auth key import refresh-key.pem --purpose refresh
  backoffice-auth key import old-service.pub.pem --until 2026-12-31T00:00:00Z";

/// Below `key revoke`.
pub(super) const KEY_REVOKE: &str = "\
For a private key that was stolen, or may have been. Users whose tokens it signed
must sign in again.

Example:
  backoffice-auth key list
  backoffice-auth key revoke tlS0FPa3R3uu-6GiKH1Mec9-je2Z0bRSskzuMIgUk4s";

/// Below `key reseal`.
pub(super) const KEY_RESEAL: &str = "\
With secrets.master_key still the one in force. If one key does not open, nothing is changed.

Example:
  openssl rand -base64 32 > new_master_key && chmod 600 new_master_key
  backoffice-auth key reseal --new-master-key-file new_master_key";

/// Below `config check`.
pub(super) const CONFIG_CHECK: &str = "\
Without options nothing is connected to. --database looks at what the server needs of its database, a
line each, and writes nothing; --smtp sends a mail. Exit status 0 with a warning on standard error is a
configuration that is legal but weak; 1 is one with which the server does not start or work.

Examples:
  backoffice-auth --config config.toml config check
  backoffice-auth --config config.toml config check --database --smtp you@example.com";

/// Below `doctor`.
pub(super) const DOCTOR: &str = "\
It looks at the settings and, over a connection of its own, at the database: reach, version, encoding,
whether it can be written to, isolation, connections that can be had, clock, migrations, rights of the
role, password hashes that a worker has not the memory for, and whether the master key opens the signing
keys. It writes nothing. Each line says ok, warning
or problem, and what to do. Exit status 1 is a problem.

Examples:
  backoffice-auth --config config.toml doctor
  backoffice-auth --config config.toml doctor --smtp you@example.com --json";

/// Below `explain`.
pub(super) const EXPLAIN: &str = "\
A refusal has its `requestId` in the body and every answer in the header X-Request-Id.

Examples:
  backoffice-auth explain alice@example.com
  backoffice-auth explain a797e625-3b39-43de-8727-e67e475fcd4c";

/// Below `healthcheck`.
pub(super) const HEALTHCHECK: &str = "\
It asks /health/ready on `http.management_listen` and waits 3 seconds at most. It reads the same
settings as the server: give both the same --config or the same environment. Exit status 0 is ready.";
