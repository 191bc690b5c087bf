// The call as a curl command for a POSIX shell.

const HEADERS = `-H "Authorization: Bearer $AMUX_API_KEY"`;

/** @param {object} call that of `CodePanel.show`. */
export function curlCode({ baseUrl, endpoint, fields, file, imageUrl }) {
  if (endpoint === "edits") return form(baseUrl, fields, file);
  return file ? jsonWithFile(baseUrl, fields, file) : json(baseUrl, imageUrl ? { ...fields, image: imageUrl } : fields);
}

function json(baseUrl, fields) {
  return `curl ${baseUrl}/images/generations \\
  ${HEADERS} \\
  -H "Content-Type: application/json" \\
${output(fields)}  --data-binary @- <<'END'
${JSON.stringify(fields, null, 2)}
END
`;
}

/** The image is too long for an argument of a command, so the parts of the body are printed into curl. */
function jsonWithFile(baseUrl, fields, file) {
  const start = `${JSON.stringify(fields).slice(0, -1)},"image":"data:;base64,`;
  return `{ printf %s ${quote(start)}; base64 < ${quote(file)} | tr -d '\\n'; printf '"}'; } |
  curl ${baseUrl}/images/generations \\
  ${HEADERS} \\
  -H "Content-Type: application/json" \\
${output(fields)}  --data-binary @-
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
