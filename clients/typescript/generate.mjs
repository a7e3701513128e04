// Writes src/frames.ts: the types of all frames, from the AsyncAPI document, which comes from the node's own.
// `--check` writes nothing, and fails if it would.

import { Parser } from "@asyncapi/parser";
import { compile } from "json-schema-to-typescript";
import { readFile, writeFile } from "node:fs/promises";

const SOURCE = new URL("../../protocol/asyncapi.json", import.meta.url);
const TARGET = new URL("src/frames.ts", import.meta.url);
const BANNER = "// Generated from protocol/asyncapi.json by `npm run generate`. Do not edit.";

const source = await readFile(SOURCE, "utf8");
const { document, diagnostics } = await new Parser().parse(source);
const problems = diagnostics.filter(({ severity }) => severity === 0);
if (!document || problems.length > 0) {
  console.error("protocol/asyncapi.json is no AsyncAPI document:", problems);
  process.exit(1);
}

const { schemas } = JSON.parse(source).components;
const root = {
  $id: "Frames",
  type: "object",
  additionalProperties: false,
  properties: { ClientFrame: ref("ClientFrame"), ServerFrame: ref("ServerFrame") },
  definitions: schemas,
};
const frames = await compile(local(root), "Frames", {
  additionalProperties: false,
  bannerComment: BANNER,
  unreachableDefinitions: true,
});
// Where a definition is used is nothing a reader of types needs to be told.
const text = frames.replace(/ \*\n \* This interface was referenced by `Frames`'s JSON-Schema\n \* via the `definition` "\w+"\.\n/g, "")
  .replace(/\/\*\*\n \* This interface was referenced by `Frames`'s JSON-Schema\n \* via the `definition` "\w+"\.\n \*\/\n/g, "");

if (process.argv.includes("--check")) {
  if ((await readFile(TARGET, "utf8")) !== text) {
    console.error("src/frames.ts is out of date: npm run generate");
    process.exit(1);
  }
} else {
  await writeFile(TARGET, text);
}

function ref(name) {
  return { $ref: `#/components/schemas/${name}` };
}

/** The same with its references where the compiler looks for them, and nothing beside them: each type once. */
function local(node) {
  if (Array.isArray(node)) return node.map(local);
  if (node === null || typeof node !== "object") return node;
  if (node.$ref) return { $ref: node.$ref.replace("#/components/schemas/", "#/definitions/") };
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, local(value)]));
}
