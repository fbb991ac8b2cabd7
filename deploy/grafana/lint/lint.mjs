// What does Grafana's own grammar say of TraceQL? `node lint.mjs <its packages>` reads a JSON list
// of queries and answers for each: where it does not parse, and what it compares with what.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const { parser } = createRequire(resolve(process.argv[2], "package.json"))("@grafana/lezer-traceql");

const answers = JSON.parse(readFileSync(0, "utf8")).map((query) => {
  const errors = [];
  const fields = [];
  const comparisons = [];
  const text = (node) => query.slice(node.from, node.to);
  parser.parse(query).iterate({
    enter({ node }) {
      if (node.type.isError) errors.push(`${node.from}: ${text(node) || "something is missing"}`);
      if (["AttributeField", "IntrinsicField"].includes(node.name)) fields.push(text(node));
      const [left, op, right] = [node.firstChild, node.getChild("FieldOp"), node.lastChild];
      if (op && right.firstChild?.name === "Static") {
        comparisons.push([text(left), text(op), text(right)]);
      }
    },
  });
  return { errors, fields, comparisons };
});
console.log(JSON.stringify(answers));
