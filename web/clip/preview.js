// Plays the chosen part of a clip over and over, and shows single moments of it while the part is being moved.

/** The preview of a clip. It seeks by itself, so pause it before frames are taken. */
export class Preview {
  #video;
  #window;
  #onTime;
  #onChange;
  #wantsToPlay = false;
  #wantedMs = null;
  #frame = 0;
  #ended = new AbortController();

  /**
   * @param {HTMLVideoElement} video
   * @param {() => {startMs: number, lengthMs: number}} window what is played
   * @param {(ms: number) => void} onTime where it is
   * @param {() => void} onChange when it begins to play, or stops
   */
  constructor(video, window, onTime, onChange) {
    this.#video = video;
    this.#window = window;
    this.#onTime = onTime;
    this.#onChange = onChange;
    const { signal } = this.#ended;
    video.addEventListener("seeked", () => this.#seekOn(), { signal });
    video.addEventListener("ended", () => this.#wantsToPlay && this.play(), { signal });
  }

  get isPlaying() {
    return this.#wantsToPlay;
  }

  /** Plays from the beginning of the part. A browser that does not let it is left at the first picture. */
  async play() {
    this.#wantsToPlay = true;
    this.#onChange();
    this.#video.currentTime = this.#window().startMs / 1000;
    this.#follow();
    try {
      await this.#video.play();
    } catch (error) {
      if (error.name === "NotAllowedError") this.pause();
    }
  }

  /** Stops, and forgets which moment was to be shown. */
  pause() {
    this.#wantsToPlay = false;
    this.#wantedMs = null;
    this.#onChange();
    cancelAnimationFrame(this.#frame);
    this.#video.pause();
  }

  /** Shows one moment. While a seek is under way, only the newest wish is remembered. */
  show(ms) {
    this.pause();
    this.#wantedMs = ms;
    this.#onTime(ms);
    if (!this.#video.seeking) this.#seekOn();
  }

  /** Stops for good. */
  end() {
    this.pause();
    this.#ended.abort();
  }

  #seekOn() {
    if (this.#wantedMs === null) return;
    this.#video.currentTime = this.#wantedMs / 1000;
    this.#wantedMs = null;
  }

  #follow() {
    cancelAnimationFrame(this.#frame);
    const step = () => {
      const { startMs, lengthMs } = this.#window();
      const ms = this.#video.currentTime * 1000;
      if (ms >= startMs + lengthMs && !this.#video.seeking) this.#video.currentTime = startMs / 1000;
      this.#onTime(Math.min(Math.max(ms, startMs), startMs + lengthMs));
      this.#frame = requestAnimationFrame(step);
    };
    this.#frame = requestAnimationFrame(step);
  }
}
