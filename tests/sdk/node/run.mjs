// One call of the real openai package: `node run.mjs CASE`, with the case's arguments as JSON on stdin and
// OPENAI_BASE_URL and OPENAI_API_KEY in the environment. Prints one JSON line: what the call returned, or the
// APIError it threw. Whatever else is thrown is a fault of the test and ends it with a status other than 0.
import fs from 'node:fs';
import { readFile } from 'node:fs/promises';
import { json } from 'node:stream/consumers';
import OpenAI, { APIError, toFile } from 'openai';

setTimeout(() => process.exit(70), 60_000).unref(); // the process ends even if a call hangs

const client = new OpenAI();

const cases = {
  generate: ({ fields, options }) => client.images.generate(fields, options),
  generateStream: async ({ fields, options }) => {
    const events = [];
    for await (const event of await client.images.generate({ ...fields, stream: true }, options)) events.push(event);
    return events;
  },
  editFields: ({ fields, options }) => client.images.edit(fields, options),

  editStream: ({ fields, paths, options }) =>
    client.images.edit({ ...fields, image: fs.createReadStream(paths[0]) }, options),
  editListOfOneStream: ({ fields, paths }) =>
    client.images.edit({ ...fields, image: [fs.createReadStream(paths[0])] }),
  editStreams: ({ fields, paths }) =>
    client.images.edit({ ...fields, image: paths.map((path) => fs.createReadStream(path)) }),

  editBuffer: async ({ fields, paths, options }) =>
    client.images.edit({ ...fields, image: await toFile(await readFile(paths[0]), 'face.jpg') }, options),
  editTypedBuffer: async ({ fields, paths }) =>
    client.images.edit({
      ...fields,
      image: await toFile(await readFile(paths[0]), 'face.png', { type: 'image/png' }),
    }),
  editListOfOneBuffer: async ({ fields, paths }) =>
    client.images.edit({ ...fields, image: [await toFile(await readFile(paths[0]), 'face.jpg')] }),
  editBuffers: async ({ fields, paths }) =>
    client.images.edit({
      ...fields,
      image: await Promise.all(paths.map(async (path) => toFile(await readFile(path), 'face.jpg'))),
    }),

  editFile: async ({ fields, paths }) =>
    client.images.edit({ ...fields, image: new File([await readFile(paths[0])], 'face.jpg') }),
  editMask: async ({ fields, paths }) =>
    client.images.edit({
      ...fields,
      image: await toFile(await readFile(paths[0]), 'face.jpg'),
      mask: await toFile(await readFile(paths[0]), 'mask.png'),
    }),

  listModels: async () => {
    const models = [];
    for await (const model of client.models.list()) models.push(model);
    return models;
  },
  retrieveModel: ({ name }) => client.models.retrieve(name),

  ignoredFields: async ({ fields }) => {
    const { response } = await client.images.generate(fields).withResponse();
    return response.headers.get('x-amux-ignored');
  },
};

async function outcome(call) {
  try {
    const response = await call();
    return { response, requestId: response?._request_id ?? null };
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const { status, code, param, type } = error;
    return {
      error: { kind: error.constructor.name, status, code, param, type },
      message: error.message,
      requestId: error.requestID,
    };
  }
}

const args = await json(process.stdin);
console.log(JSON.stringify(await outcome(() => cases[process.argv[2]](args))));
