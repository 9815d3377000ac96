/**
 * Calls the snappy and lz4 functions of the WebAssembly module inside @platformatic/wasm-utils. That package keeps
 * one instance for the whole process; a trap in it (how its decoder refuses bad input) would leave memory behind
 * and its stack unwound only in part. So this file makes its own instance, and a new one after every failure and
 * when the old one has grown. Called by `compression.ts`, which checks sizes first.
 */

import { readFileSync } from 'node:fs';

/** The compiler's library for Node has no WebAssembly; this is the part used here. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
};

type CodecFunction = 'snappy_compress' | 'snappy_decompress' | 'lz4_compress' | 'lz4_decompress';

type Exports = Record<CodecFunction, (pointer: number, bytes: number) => bigint> & {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly alloc: (bytes: number) => number;
  readonly dealloc: (pointer: number, bytes: number) => void;
};

/** WebAssembly memory never shrinks: an instance that grew above this is replaced. */
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;

let module: object | null = null;
let instance: Exports | null = null;

function openInstance(): Exports {
  if (module === null) {
    const main = import.meta.resolve('@platformatic/wasm-utils');
    module = new WebAssembly.Module(readFileSync(new URL('native.wasm', main)));
  }
  return new WebAssembly.Instance(module).exports as Exports;
}

/** Throws whatever the module throws. The result is a copy, outside the module's memory. */
export function callWasm(name: CodecFunction, bytes: Uint8Array): Buffer {
  instance ??= openInstance();
  const wasm = instance;
  // Given back only when everything went well; otherwise the instance is gone.
  instance = null;
  const room = Math.max(bytes.length, 1);
  const pointer = wasm.alloc(room);
  new Uint8Array(wasm.memory.buffer, pointer, bytes.length).set(bytes);
  const packed = BigInt.asUintN(64, wasm[name](pointer, bytes.length));
  const outputPointer = Number(packed >> 32n);
  const outputBytes = Number(packed & 0xffff_ffffn);
  const output = Buffer.from(new Uint8Array(wasm.memory.buffer, outputPointer, outputBytes));
  wasm.dealloc(outputPointer, outputBytes);
  wasm.dealloc(pointer, room);
  if (wasm.memory.buffer.byteLength <= MEMORY_BYTES_MAX) instance = wasm;
  return output;
}
