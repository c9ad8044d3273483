require 'json'
require 'jwt'
require 'net/http'

KEYS = lambda do |_|
  five_minutes = Time.now.to_i / 300
  unless @five_minutes == five_minutes
    @keys = JSON.parse(Net::HTTP.get(URI('https://auth.example.com/.well-known/jwks.json')))
    @five_minutes = five_minutes
  end
  @keys
end

def verify(token)
  JWT.decode(
    token, nil, true,
    algorithms: ['RS256'],
    jwks: KEYS,
    iss: 'https://auth.example.com',
    verify_iss: true,
    aud: 'back-office', # needed
    verify_aud: true # needed
  )
end
