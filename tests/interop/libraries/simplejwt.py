# In settings.py, and in a view: authentication_classes = [JWTStatelessUserAuthentication]
SIMPLE_JWT = {
    "ALGORITHM": "RS256",
    "JWK_URL": "https://auth.example.com/.well-known/jwks.json",
    "ISSUER": "https://auth.example.com",
    "USER_ID_CLAIM": "sub",
    "AUDIENCE": "back-office",  # needed
    "TOKEN_TYPE_CLAIM": None,  # needed
}
