// The reference image: a file that was chosen, dropped or pasted, or a URL, which only MiniMax fetches.

import { ApiError } from "../common/api.js";
import { button, el } from "../common/elements.js";

const UNREADABLE = {
  message: "The reference image cannot be read any more: its file was changed, moved or removed.",
  status: 0,
  code: "unreadable_file",
  param: "image",
};

export class Reference {
  /** `onchange` is called after each change. The elements are those of playground.html. */
  constructor(onchange) {
    this.file = null;
    this.onchange = onchange;
    this.preview = document.getElementById("preview");
    this.url = document.getElementById("image-url");
    const input = document.getElementById("file");
    document.getElementById("choose").onclick = () => input.click();
    input.onchange = () => { this.set(input.files[0]); input.value = ""; };
    this.url.addEventListener("input", () => { if (this.url.value) this.removeFile(); });
    document.addEventListener("paste", (event) => this.#take(event, event.clipboardData));
    this.#acceptDrops(document.getElementById("reference"));
  }

  /** Use `file`, a File or a Blob with a type. */
  set(file) {
    if (!file) return;
    this.removeFile();
    this.url.value = "";
    this.file = file instanceof File ? file : new File([file], "reference.jpg", { type: file.type });
    const image = el("img", { src: URL.createObjectURL(this.file), alt: `Reference image ${this.file.name}` });
    this.preview.replaceChildren(image, button("Remove reference", () => this.removeFile(), { className: "quiet" }));
    this.onchange();
  }

  removeFile() {
    const image = this.preview.querySelector("img");
    if (image) URL.revokeObjectURL(image.src);
    this.preview.replaceChildren();
    this.file = null;
    this.onchange();
  }

  /**
   * A copy of what is chosen, which stays when the file on the disk changes.
   * @returns {Promise<File|string|null>} the file, or the URL.
   * @throws {ApiError} if the file cannot be read any more.
   */
  async value() {
    if (!this.file) return this.url.value || null;
    const { name, type } = this.file;
    const bytes = await this.file.arrayBuffer().catch(() => { throw new ApiError(UNREADABLE); });
    return new File([bytes], name, { type });
  }

  /** Choose what `value` has returned earlier. */
  restore(value) {
    this.removeFile();
    this.url.value = typeof value === "string" ? value : "";
    if (value instanceof File) this.set(value);
    else this.onchange();
  }

  #acceptDrops(target) {
    target.addEventListener("dragover", (event) => { event.preventDefault(); target.classList.add("over"); });
    target.addEventListener("dragleave", () => target.classList.remove("over"));
    target.addEventListener("drop", (event) => { target.classList.remove("over"); this.#take(event, event.dataTransfer); });
  }

  #take(event, data) {
    const file = [...(data?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    this.set(file);
  }
}
