// Reads a result archive: node read.js zlib|tar FILE
//
// "zlib" walks through the blocks of the tar itself, "tar" is the npm package of that name.
// Prints how many files and results there are, the sum of status codes, and the operation_ids.

const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const { gunzipSync } = require("node:zlib");

const requireInstalled = createRequire(path.join(__dirname, "..", "node", "package.json"));

const WAYS = { zlib: walk, tar: readWithPackage };

async function main([way, file]) {
  const texts = await WAYS[way](file);
  const seen = { files: 0, results: 0, status_sum: 0, operation_ids: new Set() };
  for (const text of texts) {
    seen.files += 1;
    for (const result of JSON.parse(text)) {
      if (typeof JSON.parse(result.response) !== "object") throw new Error(result.response);
      seen.results += 1;
      seen.status_sum += result.status_code;
      seen.operation_ids.add(result.operation_id);
    }
  }
  console.log(JSON.stringify({ ...seen, operation_ids: [...seen.operation_ids] }));
}

// The content of each regular file.
function walk(file) {
  const tar = gunzipSync(readFileSync(file));
  const texts = [];
  let at = 0;
  while (tar[at] !== 0) {
    const size = parseInt(tar.toString("latin1", at + 124, at + 136), 8);
    const type = String.fromCharCode(tar[at + 156]);
    if (type !== "0") throw new Error(`An entry of type ${type}.`);
    texts.push(tar.toString("utf8", at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return texts;
}

async function readWithPackage(file) {
  const tar = requireInstalled("tar");
  const texts = [];
  const onReadEntry = (entry) => {
    const pieces = [];
    entry.on("data", (piece) => pieces.push(piece));
    entry.on("end", () => texts.push(Buffer.concat(pieces).toString("utf8")));
  };
  await tar.list({ file, onReadEntry, strict: true });
  return texts;
}

main(process.argv.slice(2));
