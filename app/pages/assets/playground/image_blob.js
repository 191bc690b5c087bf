// Base64 of the API to images of the browser, and back.

/** @returns {Blob} with the type that the first bytes tell: PNG, or JPEG. */
export function blobOfBase64(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  return new Blob([bytes], { type: isPng ? "image/png" : "image/jpeg" });
}

/** @returns {Promise<string>} the data URL of a Blob. */
export function dataUrlOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
