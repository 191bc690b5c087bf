// The call as a Python program with OpenAI's SDK.

// Parameters of the SDK's methods. Other fields go into its extra_body.
const OWN = ["model", "prompt", "n", "response_format"];
// What is done with the response, by its format.
const ENDS = {
  url: `for image in response.data:
    print(image.url)
`,
  b64_json: `for number, image in enumerate(response.data, 1):
    with open(f"image-{number}.jpg", "wb") as file:
        file.write(base64.b64decode(image.b64_json))
`,
};

/** @param {{baseUrl: string, fields: object, file: ?string, imageUrl: ?string}} call */
export function pythonCode({ baseUrl, fields, file, imageUrl }) {
  const all = imageUrl ? { ...fields, image: imageUrl } : fields;
  const own = OWN.filter((name) => name in all).map((name) => `    ${name}=${literal(all[name])},\n`);
  const extra = Object.entries(all).filter(([name]) => !OWN.includes(name));
  const extraBody = extra.map(([name, value]) => `${literal(name)}: ${literal(value)}`).join(", ");
  return `${fields.response_format === "b64_json" ? "import base64\n" : ""}import os

from openai import OpenAI

client = OpenAI(base_url=${literal(baseUrl)}, api_key=os.environ["AMUX_API_KEY"])
response = client.images.${file ? "edit" : "generate"}(
${file ? `    image=open(${literal(file)}, "rb"),\n` : ""}${own.join("")}${extra.length ? `    extra_body={${extraBody}},\n` : ""})
${ENDS[fields.response_format]}`;
}

/** A literal of Python. JSON's strings and numbers are Python's too. */
function literal(value) {
  return value === true ? "True" : JSON.stringify(value);
}
