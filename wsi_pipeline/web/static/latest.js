// @ts-check
/** Of several questions in a row the last one counts: a slow answer to an abandoned one never wins. */

export class Latest {
  /** @type {AbortController | null} */
  #asking = null;

  /**
   * Ask; whatever was asked before is given up, its answer and its failure are dropped.
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} ask
   * @param {(answer: T) => void} deliver
   * @param {(error: unknown) => void} failed
   */
  async ask(ask, deliver, failed) {
    this.#asking?.abort();
    const mine = (this.#asking = new AbortController());
    try {
      const answer = await ask(mine.signal);
      if (!mine.signal.aborted) deliver(answer);
    } catch (error) {
      if (!mine.signal.aborted) failed(error);
    }
  }

  /** Give up what is being asked. */
  drop() {
    this.#asking?.abort();
  }
}
