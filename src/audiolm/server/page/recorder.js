// The microphone, as samples. A browser lends it to pages of this machine or over HTTPS only.

/** Why there is no microphone; null where there is. */
export function whyNoMicrophone() {
  if (!window.isSecureContext) return "the browser lends the microphone over HTTPS or to this machine only";
  if (!navigator.mediaDevices?.getUserMedia) return "this browser has no microphone to lend";
  return null;
}

export class Recorder {
  /** @param {(samples: Float32Array) => void} onSamples is told what is heard, as it is */
  constructor(onSamples) {
    this.onSamples = onSamples;
  }

  /** Begin; the browser may ask the user first. */
  async start() {
    // The sound as it is: a room and its noise are part of what is continued.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio });
    try {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule("recorder-worklet.js");
      const source = this.context.createMediaStreamSource(this.stream);
      this.node = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0 });
      this.node.port.onmessage = ({ data }) => this.onSamples(data);
      source.connect(this.node);
    } catch (error) {
      await this.stop(); // else the microphone stays on
      throw error;
    }
  }

  /** Samples per second. */
  get rate() {
    return this.context.sampleRate;
  }

  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    if (this.node) this.node.port.onmessage = null;
    await this.context?.close();
  }
}
