import jwt

keys = jwt.PyJWKClient("https://auth.example.com/.well-known/jwks.json")


def verify(token):
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=["RS256"],
        issuer="https://auth.example.com",
        audience="back-office",  # needed
        options={"verify_iat": False},  # needed
    )
