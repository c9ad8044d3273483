# Shows tokens to each library of this folder, and says what it made of them.
#
#   ruby judge.rb FILE...  < {"name of the case": "token", ...}  > {"FILE": {"name of the case": "good" | reason}}

require 'json'

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
