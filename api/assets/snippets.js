// The same call from a terminal and from two languages, as text to copy.

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const quoted = (text) => JSON.stringify(text); // a string in JavaScript and, of what JSON escapes, in Python

function formFile(name) {
  if (!/[",;\\]/.test(name)) return `image=@${name}`;
  return `image=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function curl({ url, kind, name, text, signed }) {
  const lines = [`curl ${shell(url)}`];
  if (signed) lines.push('-H "Authorization: Bearer $TOKEN"');
  lines.push(kind === "image" ? `-F ${shell(formFile(name))}` : `--form-string ${shell(`data=${text}`)}`);
  return lines.join(" \\\n  ");
}

function python({ url, kind, name, text, signed }) {
  const headers = signed ? ', headers={"Authorization": f"Bearer {TOKEN}"}' : "";
  const imports = signed ? "import os\n\nimport httpx" : "import httpx";
  const token = signed ? '\nTOKEN = os.environ["TOKEN"]' : "";
  const send =
    kind === "image"
      ? `with open(${quoted(name)}, "rb") as image:\n    answer = httpx.post(url, files={"image": image}${headers}, timeout=60)`
      : `answer = httpx.post(url, data={"data": ${quoted(text)}}${headers}, timeout=60)`;
  return `${imports}\n\nurl = ${quoted(url)}${token}\n${send}\nanswer.raise_for_status()\nprint(answer.json())`;
}

function javascript({ url, kind, name, text, signed }) {
  const imports = kind === "image" ? 'import { readFile } from "node:fs/promises";\n\n' : "";
  const field =
    kind === "image"
      ? `form.append("image", new Blob([await readFile(${quoted(name)})]), ${quoted(name)});`
      : `form.append("data", ${quoted(text)});`;
  const headers = signed ? "\n  headers: { Authorization: `Bearer ${process.env.TOKEN}` }," : "";
  return (
    `// Node 18 or later, as a module (.mjs)\n${imports}const form = new FormData();\n${field}\n` +
    `const answer = await fetch(${quoted(url)}, {\n  method: "POST",\n  body: form,${headers}\n});\n` +
    "if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);\nconsole.log(await answer.json());"
  );
}

/** `{curl, python, javascript}` of a call: `url`, `kind` (image or json), the file's `name` or the JSON `text`, and
 * whether it is `signed`. A token stands as `TOKEN` of the environment, never as itself. */
export const snippets = (of) => ({ curl: curl(of), python: python(of), javascript: javascript(of) });

/** Copies the text of `node`. Browsers hide the clipboard from pages that came over plain HTTP from another machine. */
export async function copy(node) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(node.textContent);
    return;
  }
  getSelection().selectAllChildren(node);
  document.execCommand("copy");
}
