// The call as a program for Node.js with OpenAI's SDK.

// What is done with the response, by its format.
const ENDS = {
  url: "for (const image of response.data) console.log(image.url);\n",
  b64_json: `response.data.forEach((image, index) => {
  fs.writeFileSync(\`image-\${index + 1}.jpg\`, Buffer.from(image.b64_json, "base64"));
});
`,
};

// The reference image of a file, by the endpoint.
const IMAGES = {
  edits: (file) => `fs.createReadStream(${file})`,
  generations: (file) => `"data:;base64," + fs.readFileSync(${file}, "base64")`,
};

/** @param {object} call that of `CodePanel.show`. */
export function nodeCode({ baseUrl, endpoint, fields, file, imageUrl }) {
  const all = imageUrl ? { ...fields, image: imageUrl } : fields;
  const lines = Object.entries(all).map(([name, value]) => `  ${name}: ${JSON.stringify(value)},\n`);
  const needsFiles = file || fields.response_format === "b64_json";
  return `${needsFiles ? 'import fs from "node:fs";\n' : ""}import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(baseUrl)}, apiKey: process.env.AMUX_API_KEY });
const response = await client.images.${endpoint === "edits" ? "edit" : "generate"}({
${file ? `  image: ${IMAGES[endpoint](JSON.stringify(file))},\n` : ""}${lines.join("")}});
${ENDS[fields.response_format]}`;
}
