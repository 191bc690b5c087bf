// The call as a program for Node.js with OpenAI's SDK.

// What is done with the response, by its format.
const ENDS = {
  url: "for (const image of response.data) console.log(image.url);\n",
  b64_json: `response.data.forEach((image, index) => {
  fs.writeFileSync(\`image-\${index + 1}.jpg\`, Buffer.from(image.b64_json, "base64"));
});
`,
};

/** @param {{baseUrl: string, fields: object, file: ?string, imageUrl: ?string}} call */
export function nodeCode({ baseUrl, fields, file, imageUrl }) {
  const all = imageUrl ? { ...fields, image: imageUrl } : fields;
  const lines = Object.entries(all).map(([name, value]) => `  ${name}: ${JSON.stringify(value)},\n`);
  const needsFiles = file || fields.response_format === "b64_json";
  return `${needsFiles ? 'import fs from "node:fs";\n' : ""}import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(baseUrl)}, apiKey: process.env.AMUX_API_KEY });
const response = await client.images.${file ? "edit" : "generate"}({
${file ? `  image: fs.createReadStream(${JSON.stringify(file)}),\n` : ""}${lines.join("")}});
${ENDS[fields.response_format]}`;
}
