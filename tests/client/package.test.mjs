/**
 * What is published: the types name what the module exports and nothing else, and the package has every file that it needs.
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import * as nodeSocket from "../../host/web/client/node-socket.js";
import * as client from "../../host/web/client/roost-client.js";

const folder = new URL("../../host/web/client/", import.meta.url);
const text = (name) => readFileSync(new URL(name, folder), "utf8");

/** The members of a class in a file of types: those without an underscore, fields and methods. */
function declared(types, name) {
  const [, body] = new RegExp(`export class ${name}(?: extends Error)? \\{\\n([\\s\\S]*?)\\n\\}`).exec(types);
  const names = [...body.matchAll(/^ {2}(?:readonly )?([A-Za-z]+)[?]?[(<:]/gm)].map(([, member]) => member);
  return new Set(names.filter((member) => member !== "constructor"));
}

/** The members that an object of the class has. */
function actual(made) {
  const prototype = Object.getPrototypeOf(made);
  const names = [...Object.getOwnPropertyNames(prototype), ...Object.keys(made)];
  return new Set(names.filter((member) => member !== "constructor"));
}

test("the types name exactly what the modules export", () => {
  for (const [file, module] of [["roost-client.d.ts", client], ["node-socket.d.ts", nodeSocket]]) {
    const names = [...text(file).matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual(names.sort(), Object.keys(module).sort(), file);
  }
});

test("the types name exactly the members of the classes", async () => {
  const made = new client.RoostClient({ url: "http://host.test", token: "t" });
  const types = text("roost-client.d.ts");
  assert.deepEqual(declared(types, "RoostClient"), actual(made));
  assert.deepEqual(declared(types, "RoostStore"), actual(new client.RoostStore(made)));
  await made.close();
});

test("the guide names every code of an error that the client makes, unless the host has the same", () => {
  const codes = (written, pattern) => [...written.matchAll(pattern)].map(([, code]) => code);
  const sources = readdirSync(new URL("src/", folder), { recursive: true }).filter((path) => path.endsWith(".js"));
  const made = sources.flatMap((name) => codes(text(`src/${name}`), /new RoostError\(\s*(?:\w+ \|\| )?"(\w+)"/g));
  const [, list] = /one of the client's own: ([^.]+)\./.exec(text("README.md"));
  const [, errors] = /\n### Errors\n([^]+?)\n##/.exec(text("../../../docs/api.md"));
  const named = codes(list, /`(\w+)`/g);
  const ofHost = codes(errors, /`(\w+)`/g);
  assert.ok(made.length >= named.length && ofHost.length > 30, `${made.length} are made, ${ofHost.length} are the host's`);
  assert.deepEqual(made.filter((code) => !named.includes(code) && !ofHost.includes(code)), [], "missing in README.md");
  assert.deepEqual(named.filter((code) => !made.includes(code)), [], "named in README.md, and made nowhere");
});

test("the package has every file and no dependencies, and imports only its own files and modules of Node", () => {
  const manifest = JSON.parse(text("package.json"));
  assert.equal(text("LICENSE"), text("../../../LICENSE"), "npm publishes the license that is in the folder");
  assert.deepEqual([manifest.type, manifest.dependencies, manifest.devDependencies], ["module", undefined, undefined]);
  const published = manifest.files.map((name) => name.replace(/\/$/, ""));
  for (const { types, default: file } of Object.values(manifest.exports)) {
    for (const name of [types, file].map((path) => path.slice(2))) {
      assert.ok(existsSync(new URL(name, folder)) && published.includes(name), name);
    }
  }
  for (const name of readdirSync(folder, { recursive: true }).filter((path) => path.endsWith(".js"))) {
    for (const [, imported] of text(name).matchAll(/from "([^"]+)"/g)) {
      const isOfPackage = imported.startsWith("./") || imported.startsWith("../");
      assert.ok(isOfPackage || (imported.startsWith("node:") && name === "node-socket.js"), `${name} imports ${imported}`);
    }
    assert.ok(text(name).split("\n").length <= 500, `${name} is too long`);
  }
});
