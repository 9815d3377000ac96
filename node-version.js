/**
 * Run before `npm start` and `npm test`, by whatever Node.js they find, so it is written for old ones too. `npm ci`
 * installs the right Node.js as a package, where npm scripts find it before any other; but its install script must run,
 * and people switch those off. What would fail then with a strange error is told here in words.
 */

const [major, minor] = process.versions.node.split('.').map(Number);
// 24.2 brought import.meta.main; that TypeScript runs as it is came earlier.
if (major < 24 || (major === 24 && minor < 2)) {
  console.error(
    `RosettaMQ needs Node.js 24.2 or newer, and this is ${process.version}. "npm ci" installs the right one as a ` +
      'package, unless install scripts are switched off: run "npm ci --ignore-scripts=false", or install Node.js 24.',
  );
  process.exitCode = 1;
}
