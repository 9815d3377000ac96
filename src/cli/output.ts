/** What commands print: a table for people, or JSON for scripts. Control characters never reach a terminal as such. */

export type OutputFormat = 'table' | 'json';

export interface Column<Item> {
  readonly title: string;
  text(item: Item): string | number | boolean;
}

export function printList<Item>(
  format: OutputFormat,
  items: readonly Item[],
  columns: readonly Column<Item>[],
): void {
  if (format === 'json') printJson(items);
  else process.stdout.write(tableFrom(items, columns));
}

export function printOne<Item>(format: OutputFormat, item: Item, columns: readonly Column<Item>[]): void {
  if (format === 'json') {
    printJson(item);
    return;
  }
  const width = Math.max(...columns.map(({ title }) => title.length));
  for (const { title, text } of columns) {
    process.stdout.write(`${title.padEnd(width)}  ${showText(String(text(item)))}\n`);
  }
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** That a list was cut, where the list itself is for scripts. */
export function tellMore(more: boolean, max: number): void {
  if (more) console.error(`rosettamq: only the first ${max} are shown; --limit shows more`);
}

function tableFrom<Item>(items: readonly Item[], columns: readonly Column<Item>[]): string {
  const rows = [
    columns.map(({ title }) => title),
    ...items.map((item) => columns.map(({ text }) => showText(String(text(item))))),
  ];
  const widths = columns.map((_, at) =>
    rows.reduce((width, row) => Math.max(width, row[at]?.length ?? 0), 0),
  );
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** A client could name itself so that a terminal does what it likes. */
export function showText(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}
