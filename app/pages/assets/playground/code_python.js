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

/** @param {object} call that of `CodePanel.show`. */
export function pythonCode({ baseUrl, endpoint, fields, file, imageUrl }) {
  const all = imageUrl ? { ...fields, image: imageUrl } : fields;
  const own = OWN.filter((name) => name in all).map((name) => `    ${name}=${literal(all[name])},\n`);
  const extra = Object.entries(all).filter(([name]) => !OWN.includes(name));
  const extras = extra.map(([name, value]) => `${literal(name)}: ${literal(value)}`);
  const isEdit = endpoint === "edits";
  if (file && !isEdit) extras.push(`"image": "data:;base64," + base64.b64encode(open(${literal(file)}, "rb").read()).decode()`);
  const needsBase64 = fields.response_format === "b64_json" || (file && !isEdit);
  return `${needsBase64 ? "import base64\n" : ""}import os

from openai import OpenAI

client = OpenAI(base_url=${literal(baseUrl)}, api_key=os.environ["AMUX_API_KEY"])
response = client.images.${isEdit ? "edit" : "generate"}(
${isEdit ? `    image=open(${literal(file)}, "rb"),\n` : ""}${own.join("")}${extras.length ? `    extra_body={${extras.join(", ")}},\n` : ""})
${ENDS[fields.response_format]}`;
}

/** A literal of Python. JSON's strings and numbers are Python's too. */
function literal(value) {
  return value === true ? "True" : JSON.stringify(value);
}
