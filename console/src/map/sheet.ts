// A canvas of the map, as large as the view. It is painted anew when the camera moves and when it is told to be, at most
// once a frame; and while there is nothing on it, it is not there at all, for every canvas that is has to be laid over the
// others in each frame, even where nothing of it is seen.

import type { Camera } from "./camera.js";

/** What is on a sheet. */
export interface Drawing {
  /** Is nothing seen through it? */
  isOpaque?: boolean;
  isEmpty: () => boolean;
  /** Paints all of it, in CSS pixels, on a sheet that is clear. */
  paint: (context: CanvasRenderingContext2D) => void;
}

export class Sheet {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #camera: Camera;
  readonly #drawing: Drawing;
  #isDue = false;

  /** Empty, until it is told to be painted. */
  constructor(canvas: HTMLCanvasElement, camera: Camera, drawing: Drawing) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: drawing.isOpaque !== true })!;
    this.#camera = camera;
    this.#drawing = drawing;
    canvas.hidden = true;
    camera.addEventListener("change", () => this.repaint());
  }

  /** Something on it is another one now: it is painted anew before the next frame is shown. */
  repaint(): void {
    const isEmpty = this.#drawing.isEmpty();
    if (isEmpty !== this.#canvas.hidden) this.#canvas.hidden = isEmpty;
    if (isEmpty || this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#canvas.hidden) this.#paint();
    });
  }

  #paint(): void {
    const { width, height } = this.#camera;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== wide || this.#canvas.height !== high) {
      this.#canvas.width = wide;
      this.#canvas.height = high;
    }
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#context.clearRect(0, 0, width, height);
    this.#drawing.paint(this.#context);
  }
}
