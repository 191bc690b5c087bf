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
  /**
   * The elements are those of playground.html.
   * @param {() => void} onchange is called after each change.
   * @param {(message: string) => void} onfault is called when what was dropped is no image, and without a message
   *   once there is one.
   */
  constructor(onchange, onfault) {
    this.file = null;
    this.onchange = onchange;
    this.onfault = onfault;
    this.field = document.getElementById("reference");
    this.status = document.getElementById("reference-status");
    this.chooser = document.getElementById("choose");
    this.preview = document.getElementById("preview");
    this.url = document.getElementById("image-url");
    const input = document.getElementById("file");
    this.chooser.onclick = () => input.click();
    input.onchange = () => { this.set(input.files[0]); input.value = ""; };
    this.url.addEventListener("input", () => { if (this.url.value) this.removeFile(); });
    document.addEventListener("paste", (event) => this.#take(event, event.clipboardData));
    this.#acceptDrops();
  }

  /** Use `file`, a File or a Blob with a type. */
  set(file) {
    if (!file) return;
    this.removeFile();
    this.url.value = "";
    this.file = file instanceof File ? file : new File([file], "reference.jpg", { type: file.type });
    const image = el("img", { src: URL.createObjectURL(this.file), alt: `Reference image ${this.file.name}` });
    const remove = button("Remove reference", () => { this.removeFile(); this.chooser.focus(); }, { className: "quiet" });
    this.preview.replaceChildren(image, remove);
    this.onfault("");
    this.status.textContent = `${this.file.name} is the reference image.`;
    this.onchange();
  }

  /** `set`, and scroll to the preview, which may be far from what was used. */
  show(file) {
    this.set(file);
    this.field.scrollIntoView({ block: "nearest" });
  }

  removeFile() {
    const image = this.preview.querySelector("img");
    if (image) URL.revokeObjectURL(image.src);
    this.preview.replaceChildren();
    this.status.textContent = "";
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

  /** A file may be dropped anywhere: browsers would open one that misses the field, and leave the page. Text is not taken. */
  #acceptDrops() {
    const mark = (isOver) => this.field.classList.toggle("over", isOver);
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => { if (hasFiles(event)) { event.preventDefault(); mark(true); } });
    addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); });
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(false);
      if (!this.#take(event, event.dataTransfer)) this.onfault("This file is no image: drop a JPEG or PNG.");
    });
  }

  /** @returns {boolean} whether there is an image in `data`, which is then the reference. */
  #take(event, data) {
    const file = [...(data?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return false;
    event.preventDefault();
    this.show(file);
    return true;
  }
}
