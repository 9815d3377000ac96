/** What a gateway in sidecar mode stays within unless it is told otherwise; read by the settings, and before them. */

export const SIDECAR_MEBIBYTES = 128;
