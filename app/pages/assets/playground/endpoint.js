// Which endpoint makes a call: that of edits takes a file as it is, but does not serve every model.

const WITHOUT_EDITS = ["MiniMax-Image-01-live"];

/**
 * @param {string} model
 * @param {boolean} hasFile whether the reference image is a file. A URL is a field of both endpoints.
 * @returns {"edits"|"generations"}
 */
export function endpointOf(model, hasFile) {
  return hasFile && !WITHOUT_EDITS.includes(model) ? "edits" : "generations";
}
