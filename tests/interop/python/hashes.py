"""Writes exports with hashes that each library has made of one password: `hashes.py FOLDER PASSWORD`."""

import base64
import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import argon2
import bcrypt
import django
from django.conf import settings
from drupal_hash_utility import DrupalHashUtility
from passlib import hash as passlib
from werkzeug.security import generate_password_hash

FOLDER, PASSWORD = Path(sys.argv[1]), sys.argv[2]

HASHERS = {
    "pbkdf2_sha256": "PBKDF2PasswordHasher",
    "argon2": "Argon2PasswordHasher",
    "bcrypt_sha256": "BCryptSHA256PasswordHasher",
    "bcrypt": "BCryptPasswordHasher",
    "scrypt": "ScryptPasswordHasher",
}


def write_django():
    """The users of a Django application, dumped as its operators would."""
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        PASSWORD_HASHERS=[f"django.contrib.auth.hashers.{name}" for name in HASHERS.values()],
    )
    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for name in HASHERS:
        email = f"django-{name.replace('_', '-')}@example.com"
        User.objects.create(username=name, email=email, password=make_password(PASSWORD, hasher=name))
    User.objects.create_user("nobody", "django-no-password@example.com")
    call_command("dumpdata", "auth.user", output=str(FOLDER / "django.json"), verbosity=0)


def write_table(name, columns, rows):
    with open(FOLDER / name, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def write_flask():
    hashes = {
        "scrypt": generate_password_hash(PASSWORD),
        "pbkdf2": generate_password_hash(PASSWORD, "pbkdf2:sha256"),
        "pbkdf2-sha512": generate_password_hash(PASSWORD, "pbkdf2:sha512:1000"),
    }
    rows = [
        (number, f"werkzeug-{name}@example.com", text)
        for number, (name, text) in enumerate(hashes.items(), 1000)
    ]
    write_table("flask.csv", ["id", "email", "password_hash"], rows)


def write_others():
    hashes = {
        "passlib-pbkdf2": passlib.pbkdf2_sha1.hash(PASSWORD),
        "passlib-pbkdf2-sha256": passlib.pbkdf2_sha256.hash(PASSWORD),
        "passlib-pbkdf2-sha512": passlib.pbkdf2_sha512.hash(PASSWORD),
        "passlib-argon2": passlib.argon2.hash(PASSWORD),
        "passlib-bcrypt-sha256": passlib.bcrypt_sha256.hash(PASSWORD),
        "passlib-scrypt": passlib.scrypt.hash(PASSWORD),
        "passlib-phpass": passlib.phpass.using(rounds=13).hash(PASSWORD),
        "argon2-cffi": argon2.PasswordHasher().hash(PASSWORD),
        "drupal": DrupalHashUtility().encode(PASSWORD),
        "pypi-bcrypt": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt()).decode(),
    }
    rows = [(f"{name}@example.com", text) for name, text in hashes.items()]
    write_table("others.csv", ["E-Mail", "Password hash"], rows)


def write_ldif():
    openssl = ["openssl", "passwd", "-6", "-stdin"]
    crypt = subprocess.run(openssl, input=PASSWORD, capture_output=True, text=True, check=True)
    hashes = {
        "ssha": passlib.ldap_salted_sha1.hash(PASSWORD),
        "ssha512": passlib.ldap_salted_sha512.hash(PASSWORD),
        "crypt": "{CRYPT}" + crypt.stdout.strip(),
    }
    entries = ["version: 1\n\ndn: dc=example,dc=com\nobjectClass: domain\n"]
    for name, text in hashes.items():
        coded = f"userPassword:: {base64.b64encode(text.encode()).decode()}"
        # Folded, as slapcat folds.
        coded = "\n ".join(coded[at : at + 76] for at in range(0, len(coded), 76))
        entries.append(f"dn: uid={name},dc=example,dc=com\nmail: ldap-{name}@example.com\n{coded}\n")
    entries.append("dn: uid=sso,dc=example,dc=com\nmail: ldap-sso@example.com\nuserPassword: {SASL}sso\n")
    (FOLDER / "people.ldif").write_text("\n".join(entries))


def write_dovecot():
    schemes = ["ARGON2ID", "BLF-CRYPT", "PBKDF2", "SHA512-CRYPT", "SSHA256"]
    rows = []
    for scheme in schemes:
        # -O: with the settings that it has built in.
        argv = ["doveadm", "-O", "pw", "-s", scheme, "-p", PASSWORD]
        made = subprocess.run(argv, capture_output=True, text=True, check=True)
        rows.append((f"dovecot-{scheme.lower()}@example.com", made.stdout.strip()))
    write_table("dovecot.csv", ["email", "password"], rows)


def keycloak_credential(value, salt, **data):
    texts = {
        "secretData": {"value": value, "salt": salt, "additionalParameters": {}},
        "credentialData": {"additionalParameters": {}, **data},
    }
    coded = lambda part: base64.b64encode(part).decode() if isinstance(part, bytes) else part  # noqa: E731
    texts["secretData"] = {name: coded(part) for name, part in texts["secretData"].items()}
    return {"type": "password", **{name: json.dumps(text) for name, text in texts.items()}}


def write_keycloak():
    """The users of a realm: hashes by argon2-cffi and OpenSSL, in the form that Keycloak exports."""
    salt, password = os.urandom(16), PASSWORD.encode()
    argon2_hash = argon2.low_level.hash_secret_raw(
        password, salt, time_cost=5, memory_cost=7168, parallelism=1, hash_len=32, type=argon2.Type.ID
    )
    parameters = {"type": "id", "version": "1.3", "memory": "7168", "parallelism": "1", "hashLength": "32"}
    credentials = {
        "argon2": keycloak_credential(
            argon2_hash, salt, hashIterations=5, algorithm="argon2",
            additionalParameters={name: [value] for name, value in parameters.items()},
        ),
    }
    for algorithm, digest, iterations, length in [
        ("pbkdf2-sha512", "sha512", 210_000, 64),
        ("pbkdf2-sha256", "sha256", 27_500, 64),
        ("pbkdf2", "sha1", 20_000, 64),
    ]:
        made = hashlib.pbkdf2_hmac(digest, password, salt, iterations, length)
        credentials[algorithm] = keycloak_credential(
            made, salt, hashIterations=iterations, algorithm=algorithm
        )
    users = [
        {"username": name, "email": f"keycloak-{name}@example.com", "enabled": True, "credentials": [credential]}
        for name, credential in credentials.items()
    ]
    users.append({"username": "sso", "email": "keycloak-sso@example.com", "enabled": True, "credentials": []})
    (FOLDER / "keycloak.json").write_text(json.dumps({"realm": "shop", "users": users}))


write_django()
write_dovecot()
write_keycloak()
write_flask()
write_others()
write_ldif()
