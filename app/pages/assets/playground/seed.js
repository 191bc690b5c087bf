// A seed for a call without one, so that its images can be drawn again.

/** @returns {number} a random whole number from 0 to 4294967295. */
export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
