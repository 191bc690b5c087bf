// The items of a response: images that the page can show, and URLs of other servers, which it never fetches.

import { blobOfBase64 } from "./image_blob.js";

/**
 * @param {{b64_json?: string, url?: string}[]} items
 * @returns {Promise<{images: Blob[], urls: string[]}>}
 */
export async function sortAnswer(items) {
  const images = [];
  const urls = [];
  for (const { b64_json: base64, url } of items) {
    const image = base64 ? blobOfBase64(base64) : await readImage(url);
    if (image) images.push(image);
    else urls.push(url);
  }
  return { images, urls };
}

/** The image of a data URL, or one that the gateway itself keeps; null for a URL of another server. */
async function readImage(url) {
  if (url.startsWith("data:")) return blobOfBase64(url.slice(url.indexOf(",") + 1));
  if (!url.startsWith(`${location.origin}/`)) return null;
  return fetch(url).then((response) => (response.ok ? response.blob() : null)).catch(() => null);
}
