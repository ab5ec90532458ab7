// A request as people would send it themselves: curl, and Python. Knows no page.

const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function asCurl(path, request, origin) {
  return [
    `curl -sf ${origin}${path} \\`,
    `  -H "Authorization: Bearer $UNROLL_API_KEY" -H "Content-Type: application/json" \\`,
    `  -d ${inShell(JSON.stringify(request))}`,
  ].join("\n");
}

/** `call` is the method of a client, as `completions.create`; `show` an expression of its answer. */
export function asPython(call, request, show) {
  const fields = Object.entries(request).map(([name, value]) => `        ${name}=${inPython(value)},`);
  return ["from unroll import Client", "", "with Client() as client:", `    answer = client.${call}(`, ...fields, "    )", `    print(${show})`].join("\n");
}

function inPython(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(inPython).join(", ")}]`;
  return JSON.stringify(value);
}
