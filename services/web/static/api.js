// Asks /v1 with the session's cookie: JSON, and answers that stream. Knows no page.

/** What /v1 refused, in its own words. */
export class ApiError extends Error {
  constructor(message, status, param = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.param = param; // the field that it is about, where there is one
  }
}

const csrfToken = () => document.querySelector('meta[name="csrf-token"]').content;

async function refusal(response) {
  const body = await response.json().catch(() => null);
  return new ApiError(body?.error?.message ?? `the server answered ${response.status}`, response.status, body?.error?.param);
}

export async function getJson(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Changes something: `method` is POST, PUT or DELETE; the answer's JSON. */
export async function send(method, path, body) {
  const headers = { accept: "application/json", "x-csrf-token": csrfToken() };
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Sends the bytes of a file as they are; the answer's JSON. */
export async function upload(path, file) {
  const headers = { accept: "application/json", "x-csrf-token": csrfToken(), "content-type": "application/octet-stream" };
  const response = await fetch(path, { method: "POST", headers, body: file });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** What to tell people of anything that `getJson`, `send` or `complete` threw; throws what is no refusal. */
export function sentence(error) {
  if (error instanceof ApiError) return error.message;
  if (error instanceof TypeError) return "the server could not be reached";
  throw error;
}

/** Yields the text of each piece of a streamed completion; throws as `choices`. */
export async function* complete(request, signal) {
  for await (const { text } of choices(request, signal)) yield text;
}

/** Yields each choice of a streamed completion as it comes; throws ApiError on an error event or an early end. */
export async function* choices(request, signal) {
  const response = await fetch("/v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrf-token": csrfToken() },
    body: JSON.stringify({ ...request, stream: true }),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  for await (const data of frames(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, response.status);
    yield* chunk.choices;
  }
  throw new ApiError("the stream broke off before its end", response.status);
}

/** The `data` of each server-sent event in a body. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const events = (pending + piece.value).replaceAll("\r\n", "\n").split("\n\n");
    pending = events.pop();
    for (const event of events) {
      const lines = event.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
    }
  }
}
