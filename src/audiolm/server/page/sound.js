// Sound in memory: any file as samples at 16 kHz, samples as a WAV, and sound that grows.

export const SAMPLE_RATE = 16000;

/** Sound that may still be growing: a waveform of which `length` samples are there. */
export class Track {
  /** @param {number} expected samples, as far as is known: room is made for them */
  constructor(expected = SAMPLE_RATE) {
    this.samples = new Float32Array(Math.max(1, expected));
    this.length = 0;
    this.done = false;
  }

  /** A track that is whole. */
  static of(samples) {
    const track = new Track(samples.length);
    track.push(samples);
    track.done = true;
    return track;
  }

  push(more) {
    if (this.length + more.length > this.samples.length) {
      const room = new Float32Array(Math.max(2 * this.samples.length, this.length + more.length));
      room.set(this.samples.subarray(0, this.length));
      this.samples = room;
    }
    this.samples.set(more, this.length);
    this.length += more.length;
  }

  /** The samples that are there. */
  get all() {
    return this.samples.subarray(0, this.length);
  }
}

/** A recording in any form that this browser reads, as one channel at 16 kHz. */
export async function decode(file) {
  // An OfflineAudioContext decodes at its own rate.
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE);
  let buffer;
  try {
    buffer = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name || "The file"}: is no recording that this browser can read; convert it to WAV or FLAC.`);
  }
  return mixed(buffer);
}

/** Samples at another rate, at 16 kHz. */
export async function resampled(samples, rate) {
  if (rate === SAMPLE_RATE) return samples;
  const length = Math.max(1, Math.round((samples.length * SAMPLE_RATE) / rate));
  const context = new OfflineAudioContext(1, length, SAMPLE_RATE);
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate });
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return mixed(await context.startRendering());
}

function mixed(buffer) {
  const samples = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel += 1) {
    const other = buffer.getChannelData(channel);
    for (let i = 0; i < samples.length; i += 1) samples[i] += other[i];
  }
  if (buffer.numberOfChannels > 1) {
    for (let i = 0; i < samples.length; i += 1) samples[i] /= buffer.numberOfChannels;
  }
  return samples;
}

/** Samples as a WAV of 16 bits. */
export function wavOf(samples) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((c, i) => bytes.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // channels
  bytes.setUint32(24, SAMPLE_RATE, true);
  bytes.setUint32(28, 2 * SAMPLE_RATE, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  for (let i = 0; i < samples.length; i += 1) {
    const value = Math.round(samples[i] * 32768);
    bytes.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, value)), true);
  }
  return new Blob([bytes], { type: "audio/wav" });
}

/** The largest sample. */
export function peak(samples) {
  let most = 0;
  for (const sample of samples) most = Math.max(most, Math.abs(sample));
  return most;
}
