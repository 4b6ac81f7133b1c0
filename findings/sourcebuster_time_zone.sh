#!/bin/sh
# Sourcebuster.js writes the time of a visit (`fd` of `first_add` and `current_add`) without a zone: the
# visitor's own clock. With its option `timezone_offset`, meant to make all visitors' times comparable,
# the time of a visitor whose zone is not of whole hours is wrong by the part of the hour: minutes are
# never moved.
# Seen: sourcebuster 1.1.0, in jsdom 24.1.3. Needs Node.js 20.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit --prefix "$folder" sourcebuster@1.1.0 jsdom@24.1.3 >/dev/null
cat > time.js <<'NODE'
const { JSDOM } = require("jsdom");
const library = require("fs").readFileSync("node_modules/sourcebuster/dist/sourcebuster.js", "utf8");

const page = new JSDOM("", { url: "https://site.example/", runScripts: "outside-only" });
page.window.eval(library);
page.window.eval(`sbjs.init({ timezone_offset: 3 })`);
const written = page.window.eval("sbjs.get").current_add.fd;
const right = new Date(Date.now() + 3 * 3600e3);
const minutes = (Date.parse(written.replace(" ", "T") + "Z") - right) / 60e3;
console.log(`${process.env.TZ}, timezone_offset 3: off by ${Math.round(minutes)} minutes`);
process.exit(Math.round(minutes) === Number(process.argv[2]) ? 0 : 1);
NODE
TZ=Europe/Moscow node time.js 0
TZ=Asia/Kolkata node time.js -30
TZ=Asia/Kathmandu node time.js -15
