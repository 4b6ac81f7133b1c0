#!/bin/sh
# Sourcebuster.js, whose marks callback and analytics widgets send on, says things that its keys do not
# promise. Of a referral, `cnt` (content) is the path of the referring page: "/" for most. A search
# engine's page without its query parameter, as browsers send it since they cut referrers to the
# origin, is a referral too (google.com is not: it needs no parameter), and Bing always is. A click id
# of Google Ads alone gives the campaign `google_cpc`, which nobody has set.
# Seen: sourcebuster 1.1.0, in jsdom 24.1.3. Needs Node.js 20.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit --prefix "$folder" sourcebuster@1.1.0 jsdom@24.1.3 >/dev/null
cat > marks.js <<'NODE'
const { JSDOM } = require("jsdom");
const library = require("fs").readFileSync("node_modules/sourcebuster/dist/sourcebuster.js", "utf8");

function marksOf(url, referrer) {
  const page = new JSDOM("", { url, runScripts: "outside-only", ...(referrer ? { referrer } : {}) });
  page.window.eval(library);
  page.window.eval("sbjs.init()");
  const { typ, src, cmp, cnt } = page.window.eval("sbjs.get").current;
  return [typ, src, cmp, cnt].join(" | ");
}

const site = "https://site.example/";
const expected = [
  [site, "https://blog.example/post/7", "referral | blog.example | (none) | /post/7"],
  [site, "https://yandex.ru/search?text=x", "organic | yandex | (none) | (none)"],
  [site, "https://yandex.ru/", "referral | yandex.ru | (none) | /"],
  [site, "https://www.google.com/", "organic | google | (none) | (none)"],
  [site, "https://www.bing.com/", "referral | bing.com | (none) | /"],
  [`${site}?gclid=1`, "", "utm | google | google_cpc | (none)"],
];
let isSo = true;
for (const [url, referrer, marks] of expected) {
  const seen = marksOf(url, referrer);
  console.log(`${url} from ${referrer || "nowhere"}: typ | src | cmp | cnt = ${seen}`);
  isSo = isSo && seen === marks;
}
process.exit(isSo ? 0 : 1);
NODE
node marks.js
