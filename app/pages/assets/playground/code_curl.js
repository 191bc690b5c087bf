// The call as a curl command for a POSIX shell.

const HEADERS = `-H "Authorization: Bearer $AMUX_API_KEY"`;

/** @param {{baseUrl: string, fields: object, file: ?string, imageUrl: ?string}} call */
export function curlCode({ baseUrl, fields, file, imageUrl }) {
  return file ? form(baseUrl, fields, file) : json(baseUrl, imageUrl ? { ...fields, image: imageUrl } : fields);
}

function json(baseUrl, fields) {
  const path = fields.image ? "edits" : "generations";
  return `curl ${baseUrl}/images/${path} \\
  ${HEADERS} \\
  -H "Content-Type: application/json" \\
${output(fields)}  --data-binary @- <<'END'
${JSON.stringify(fields, null, 2)}
END
`;
}

function form(baseUrl, fields, file) {
  const parts = Object.entries(fields).map(([name, value]) => `  --form-string ${quote(`${name}=${value}`)} \\\n`);
  return `curl ${baseUrl}/images/edits \\
  ${HEADERS} \\
${output(fields)}${parts.join("")}  -F ${quote(`image=@"${file.replace(/[\\"]/g, "\\$&")}"`)}
`;
}

/** Base64 goes into a file: it would fill the terminal. */
function output(fields) {
  return fields.response_format === "b64_json" ? "  -o response.json \\\n" : "";
}

/** In single quotes, in which a shell changes nothing. */
function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
