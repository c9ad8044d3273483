# Shows tokens to each library of this folder, and says what it made of them.
#
#   ruby judge.rb FILE...  < {"CASE": "TOKEN", ...}  > {"FILE": {"CASE": "good" or why not, ...}, ...}

require 'json'
require 'jwt' # before the tokens come, so that they do not grow old meanwhile

cases = JSON.parse($stdin.read)
verdicts = ARGV.to_h do |file|
  load file
  said = cases.transform_values do |token|
    verify(token)
    'good'
  rescue StandardError => e
    "#{e.class}: #{e.message}"
  end
  [file, said]
end
puts JSON.generate(verdicts)
