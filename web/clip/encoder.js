// A worker that writes pictures as JPEG. In the page itself a browser writes them when it has nothing else to do,
// which may take a second for each.

const QUALITIES = [0.85, 0.7, 0.5];

onmessage = async ({ data: { id, bitmap, maxBytes } }) => {
  try {
    postMessage({ id, blob: await encode(bitmap, maxBytes) });
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
};

/** The picture in the best quality of which it has few enough bytes; null where it has too many in any. */
async function encode(bitmap, maxBytes) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
  bitmap.close();
  for (const quality of QUALITIES) {
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
    if (blob.size <= maxBytes) return blob;
  }
  return null;
}
