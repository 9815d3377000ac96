/** Bounds of memory that are known before the settings are read, and checked with them. */

/** What a gateway in sidecar mode stays within unless it is told otherwise. */
export const SIDECAR_MEBIBYTES = 128;

/** With less the program itself does not fit. */
export const MEBIBYTES_MIN = 96;
