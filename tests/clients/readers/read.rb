# Reads a result archive as Ruby does: ruby read.rb FILE
#
# Prints how many files and results there are, the sum of status codes, and the operation_ids.

require "json"
require "rubygems/package"
require "set"
require "zlib"

seen = { files: 0, results: 0, status_sum: 0 }
ids = Set.new
Zlib::GzipReader.open(ARGV.fetch(0)) do |tar|
  Gem::Package::TarReader.new(tar).each do |entry|
    raise "#{entry.full_name} is no file" unless entry.file?

    seen[:files] += 1
    JSON.parse(entry.read).each do |result|
      raise result["response"] unless JSON.parse(result["response"]).is_a?(Hash)

      seen[:results] += 1
      seen[:status_sum] += result["status_code"]
      ids << result["operation_id"]
    end
  end
end
puts JSON.generate(seen.merge(operation_ids: ids.to_a))
