"""Shows tokens to each library of this folder, and says what it made of them.

python judge.py FILE...  < {"CASE": "TOKEN", ...}  > {"FILE": {"CASE": "good" or why not, ...}, ...}
"""

import json
import multiprocessing
import sys
from pathlib import Path

# Before the tokens come, so that they do not grow old meanwhile.
import authlib.oauth2.rfc9068  # noqa: F401
import django
import jose.jwt  # noqa: F401
import joserfc.jwt  # noqa: F401
import jwt  # noqa: F401
import rest_framework  # noqa: F401


def simplejwt(settings):
    """Django's handling of a request that carries the token, with the settings."""
    from django.conf import settings as django_settings

    apps = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework_simplejwt"]
    django_settings.configure(INSTALLED_APPS=apps, SECRET_KEY="x", SIMPLE_JWT=settings)
    django.setup()
    from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication

    authentication = JWTStatelessUserAuthentication()
    return lambda token: authentication.get_user(authentication.get_validated_token(token)).pk


def judge(file, cases):
    names = {"__name__": "library"}
    exec(compile(Path(file).read_text(), file, "exec"), names)
    verify = names.get("verify") or simplejwt(names["SIMPLE_JWT"])
    said = {}
    for name, token in cases.items():
        try:
            verify(token)
            said[name] = "good"
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    return file, said


if __name__ == "__main__":
    files, cases = sys.argv[1:], json.load(sys.stdin)
    # Each in a process of its own: Django has one set of settings.
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        print(json.dumps(dict(pool.starmap(judge, [(file, cases) for file in files], chunksize=1))))
