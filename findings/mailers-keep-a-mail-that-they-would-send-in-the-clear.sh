#!/usr/bin/env bash
# nodemailer 10.6.1 of npm and aiosmtplib 5.1.3 of PyPI use STARTTLS if a relay offers it, and do without it if not.
# But if the relay offers it with a certificate that they do not trust, they do not send at all: encryption without a
# proof of identity is an error, and no encryption is none. Debian's Postfix offers STARTTLS with such a certificate
# as it is installed ("snakeoil").
#
# Seen, with settings of a host and a port alone: a relay without STARTTLS gets both mails in the clear. With STARTTLS
# and a self-signed certificate it gets none ("self-signed certificate"). With `ignoreTLS: true` and `start_tls=False`
# it gets both in the clear again.
#
# So a relay that begins to offer STARTTLS stops the sign-in codes of a server that never asked for TLS. The remedy is
# to decide: turn STARTTLS off, as above, for a relay on the same machine, and require it for all others (`requireTLS:
# true`, `start_tls=True`), with the relay's own authority if no public one signed its certificate.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{}' > package.json
npm install --silent --no-fund --no-audit nodemailer@10.6.1
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check aiosmtpd==1.4.6 aiosmtplib==5.1.3
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -subj /CN=relay -days 1 2>/dev/null

cat > send.mjs <<'JS'
import { createTransport } from 'nodemailer'

const [port, setting] = process.argv.slice(2)
createTransport({ host: '127.0.0.1', port: Number(port), ...JSON.parse(setting) })
  .sendMail({ from: 'auth@example.com', to: 'alice@example.com', subject: 'Your code', text: '123456' })
  .then(() => console.log('sent'), (error) => console.log(error.message))
JS
cat > relay.py <<'PYTHON'
import asyncio
import email.message
import logging
import socket
import ssl
import subprocess
import sys

import aiosmtplib
from aiosmtpd.controller import Controller

# This is about a client that hangs up during STARTTLS.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class Relay:
    async def handle_DATA(self, server, session, envelope):
        got.append("TLS" if session.ssl else "clear")
        return "250 OK"


def with_nodemailer(setting):
    arguments = ["node", "send.mjs", str(port), setting]
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()


def with_aiosmtplib(setting):
    mail = email.message.EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "auth@example.com", "alice@example.com", "Your code"
    mail.set_content("123456")
    try:
        asyncio.run(aiosmtplib.send(mail, hostname="127.0.0.1", port=port, **setting))
        return "sent"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("certificate.pem", "key.pem")
seen = []
for context, off in ((None, False), (tls, False), (tls, True)):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    got = []
    relay = Controller(Relay(), hostname="127.0.0.1", port=port, tls_context=context)
    relay.start()
    answers = [
        with_nodemailer('{"ignoreTLS": true}' if off else "{}"),
        with_aiosmtplib({"start_tls": False} if off else {}),
    ]
    relay.stop()
    seen.append((answers, got))
    print(f"STARTTLS offered: {context is not None}, turned off: {off}; nodemailer, aiosmtplib: {answers}; came: {got}")
sent = (["sent"] * 2, ["clear"] * 2)
sys.exit(seen != [sent, (["self-signed certificate"] * 2, []), sent])
PYTHON
tools/bin/python relay.py
