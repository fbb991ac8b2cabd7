// What does AsyncAPI's own parser say of a document? `node lint.mjs <its packages> <document>`.
// Whatever it reports, a hint included, is a failure.
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [packages, document] = process.argv.slice(2);
const { Parser, fromFile } = createRequire(resolve(packages, "package.json"))("@asyncapi/parser");

const severities = ["error", "warning", "information", "hint"];
const ruleset = { rules: { "asyncapi-info-contact": "off" } }; // that is who runs an installation
const { document: parsed, diagnostics } = await fromFile(new Parser({ ruleset }), document).parse();

for (const { severity, code, message, path, range } of diagnostics) {
  const where = path?.length ? path.join(".") : `line ${range.start.line + 1}`;
  console.error(`asyncapi: ${severities[severity]}: ${where}: ${message} (${code})`);
}
if (!parsed || diagnostics.length) process.exit(1);
const count = (collection) => collection.all().length;
console.log(
  `asyncapi: ${count(parsed.channels())} topics, ${count(parsed.messages())} messages, ` +
    `${count(parsed.operations())} operations: sound`,
);
