// Streaming calls of the real openai package, for tests/sdk/streams.py. Reads calls from stdin, one JSON object a line, and
// writes what it saw of each as JSON lines: `{"head": true}` once the stream is open, `{"event": {…}}` for each event,
// `{"error": {…}}` if the SDK threw an APIError, and `{"end": true}`.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import OpenAI, { APIError } from 'openai';

const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function run({ base_url: baseURL, api_key: apiKey, fields, image, request_id: requestId, leave }) {
  const client = new OpenAI({ baseURL, apiKey });
  const options = { headers: { 'x-request-id': requestId } };
  const stream = image
    ? await client.images.edit({ ...fields, stream: true, image: fs.createReadStream(image) }, options)
    : await client.images.generate({ ...fields, stream: true }, options);
  write({ head: true });
  if (leave) {
    stream.controller.abort();
    return;
  }
  for await (const { type, b64_json: base64, size, output_format } of stream) {
    const sha256 = createHash('sha256').update(Buffer.from(base64, 'base64')).digest('hex');
    write({ event: { type, sha256, size, output_format } });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    await run(JSON.parse(line));
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const { status, code, message } = error;
    write({ error: { kind: error.constructor.name, status: status ?? null, code: code ?? null, message } });
  }
  write({ end: true });
}
