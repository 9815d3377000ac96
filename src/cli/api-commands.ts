/**
 * The commands that manage a running gateway over its HTTP API, with their options and help; what they do is in the
 * files of their names, loaded when they are called.
 */

import { Command, InvalidArgumentError, Option } from 'commander';
import { API_DEFAULT } from './api-client.ts';
import { EXIT_WRONG_ARGUMENTS, Failure, parseAndRun } from './failure.ts';
import type { HealthQuestion } from './health.ts';

const LIST_MAX_DEFAULT = 1_000;

/** Of these commands alone, for a quick start. */
export async function runApiCommand(version: string, argv: readonly string[]): Promise<void> {
  const program = new Command('rosettamq').version(version).enablePositionalOptions();
  addApiCommands(program);
  await parseAndRun(program, argv);
}

/** For every command that calls the API. */
function withApi(command: Command): Command {
  return command
    .addOption(
      new Option('--api <address>', `the gateway's HTTP API (default: ROSETTAMQ_API, or ${API_DEFAULT})`),
    )
    .addOption(
      new Option(
        '--api-key-file <file>',
        'file that holds the API key (default: the key in ROSETTAMQ_API_KEY)',
      ),
    );
}

function withOutput(command: Command): Command {
  return withApi(command).addOption(
    new Option('-o, --output <format>', 'table for people, json for scripts')
      .choices(['table', 'json'])
      .default('table'),
  );
}

function withList(command: Command): Command {
  return withOutput(command).addOption(
    new Option('--limit <count>', 'entries at most').argParser(readCount).default(LIST_MAX_DEFAULT),
  );
}

function example(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExample:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

export function addApiCommands(program: Command): void {
  addUserCommands(program.command('users').description('who may connect'));
  addAclCommands(program.command('acl').description('who may do what'));
  addMappingCommands(program.command('mapping').description('files of mapping rules, with their own tests'));
  addSessionCommands(program.command('sessions').description('what clients left behind, and who is there'));
  addQueueCommands(program.command('queues').description('what waits in queues and their groups'));
  addRetainedCommands(program.command('retained').description('what addresses remember'));
  addConnectionCommands(program.command('connections').description('outside brokers that bridges lead to'));
  addBridgeCommands(program.command('bridges').description('what leads to outside brokers and in from them'));
  addImportCommand(program);
  addMessageCommands(program);
  addHealthCommand(program);
}

function addHealthCommand(program: Command): void {
  example(program.command('health [question]'), 'rosettamq health ready')
    .description('ask whether the gateway is live, ready or has started (startup); exit code 0 is yes')
    .addOption(
      new Option('--api <address>', `the gateway's HTTP API (default: ROSETTAMQ_API, or ${API_DEFAULT})`),
    )
    .addOption(
      new Option('--timeout-ms <milliseconds>', 'time for the answer').argParser(readCount).default(2_000),
    )
    .action(async (question: string | undefined, flags) => {
      if (question !== undefined && !['live', 'ready', 'startup'].includes(question)) {
        throw new Failure(
          `there is no question ${question}; ask live, ready or startup`,
          EXIT_WRONG_ARGUMENTS,
        );
      }
      const { askHealth } = await import('./health.ts');
      await askHealth((question ?? 'live') as HealthQuestion, flags);
    });
}

function addImportCommand(program: Command): void {
  const load = () => import('./import.ts');
  example(
    withOutput(program.command('import <format> <file>')),
    'rosettamq import <format> definitions.json --dry-run',
    'rosettamq import <format> definitions.json',
  )
    .description(
      'take over exchanges, queues, bindings, users and mappings from what another broker exported; formats ' +
        'are in docs/operations.md, and - is standard input',
    )
    .option('--vhost <name>', 'the virtual host that is taken over', '/')
    .option('--dry-run', 'say what would be done, and change nothing')
    .action(async (format, file, flags) => (await load()).importDefinitions(format, file, flags));
}

function addUserCommands(users: Command): void {
  const password = '--password-stdin';
  const passwordText = 'read the password from the first line of standard input instead of asking';
  const load = () => import('./users.ts');
  example(withList(users.command('list')), 'rosettamq users list -o json')
    .description('list users')
    .action(async (flags) => (await load()).listUsers(flags));
  example(
    withApi(users.command('add <name>')),
    'rosettamq users add ann --group staff',
    'rosettamq users add ann --password-stdin < password.txt',
  )
    .description('add a user')
    .option('--group <name...>', 'groups that the user is in')
    .option(password, passwordText)
    .action(async (name, flags) => (await load()).addUser(name, flags));
  example(withApi(users.command('passwd <name>')), 'rosettamq users passwd ann')
    .description('change a password; clients connected with the old one are disconnected')
    .option(password, passwordText)
    .action(async (name, flags) => (await load()).changePassword(name, flags));
  example(withApi(users.command('groups <name> [group...]')), 'rosettamq users groups ann staff night-shift')
    .description('say which groups a user is in')
    .action(async (name, groups, flags) => (await load()).changeGroups(name, groups, flags));
  example(withApi(users.command('remove <name>')), 'rosettamq users remove ann')
    .description('remove a user, and disconnect its clients')
    .action(async (name, flags) => (await load()).removeUser(name, flags));
  example(users.command('hash <name>'), 'rosettamq users hash ann >> passwords')
    .description('print a line for a password file; needs no gateway')
    .option(password, passwordText)
    .action(async (name, flags) => (await load()).printHash(name, flags));
}

function addAclCommands(acl: Command): void {
  const load = () => import('./acl.ts');
  const who = (command: Command): Command =>
    command
      .option('--user <name>', 'of this user; an empty name is clients without one')
      .option('--client <id>', 'of clients that call themselves so')
      .option('--group <name>', 'of the users of this group');
  example(withList(acl.command('list')), 'rosettamq acl list')
    .description('list rules, those of files as well')
    .action(async (flags) => (await load()).listRules(flags));
  example(
    who(withApi(acl.command('add <name> <allow|deny> <actions> <pattern>'))),
    "rosettamq acl add sensors-write allow write 'sensors/%u/#' --group sensors",
    "rosettamq acl add no-admin deny all 'admin/#'",
  )
    .description(
      'add a rule, or replace the one of that name; actions, with commas between: read, write, subscribe, configure, ' +
        'readwrite, all; in the pattern + is one level, # many at its end, %u the user, %c the client',
    )
    .action(async (name, effect, actions, pattern, flags) =>
      (await load()).addRule(name, effect, actions, pattern, flags),
    );
  example(withApi(acl.command('remove <name>')), 'rosettamq acl remove no-admin')
    .description('remove a rule')
    .action(async (name, flags) => (await load()).removeRule(name, flags));
  example(
    withOutput(acl.command('test <action> <address>')),
    'rosettamq acl test write sensors/ann/temperature --user ann --group sensors',
  )
    .description('say whether a client may: read, write, subscribe or configure; exit code 0 is yes, 3 is no')
    .option('--user <name>', 'the client’s user name', '')
    .option('--client <id>', 'what the client calls itself', '')
    .option('--group <name...>', 'groups that the user is in')
    .action(async (action, address, flags) => (await load()).testRules(action, address, flags));
}

function addMappingCommands(mapping: Command): void {
  const load = () => import('./mappings.ts');
  example(withApi(mapping.command('test <file>')), 'rosettamq mapping test mappings.yaml')
    .description(
      'run the tests of a mapping file on a running gateway; nothing is stored; exit code 3: some failed',
    )
    .action(async (file, flags) => (await load()).testMappings(file, flags));
  example(withApi(mapping.command('apply <file>')), 'rosettamq mapping apply mappings.yaml --prune')
    .description('put all mappings of a file at once, or none')
    .option('--prune', 'delete mappings that the file does not name')
    .option('--dry-run', 'check everything and change nothing')
    .action(async (file, flags) => (await load()).applyMappings(file, flags));
}

function addSessionCommands(sessions: Command): void {
  const load = () => import('./sessions.ts');
  example(withList(sessions.command('list')), 'rosettamq sessions list')
    .description('list sessions')
    .action(async (flags) => (await load()).listSessions(flags));
  example(withOutput(sessions.command('show <id>')), 'rosettamq sessions show sensor-7')
    .description('show a session with its subscriptions')
    .action(async (id, flags) => (await load()).showSession(id, flags));
  example(withApi(sessions.command('end <id>')), 'rosettamq sessions end sensor-7')
    .description('end a session: what it kept goes, and its client is disconnected')
    .action(async (id, flags) => (await load()).endSession(id, flags));
}

function addQueueCommands(queues: Command): void {
  const load = () => import('./queues.ts');
  example(withList(queues.command('list')), 'rosettamq queues list')
    .description('list queues')
    .action(async (flags) => (await load()).listQueues(flags));
  example(withList(queues.command('groups <queue>')), 'rosettamq queues groups orders')
    .description('list the consumer groups of a queue')
    .action(async (queue, flags) => (await load()).listGroups(queue, flags));
  example(
    withApi(queues.command('delete-group <queue> <group>')),
    "rosettamq queues delete-group orders 'workers@eu/#'",
  )
    .description('delete a group with what it gathered; its members are told')
    .action(async (queue, group, flags) => (await load()).deleteGroup(queue, group, flags));
}

function addRetainedCommands(retained: Command): void {
  const load = () => import('./retained.ts');
  example(withList(retained.command('list [filter]')), "rosettamq retained list 'sensors/+/state'")
    .description('list what addresses remember, all or those under a filter')
    .action(async (filter, flags) => (await load()).listRetained(filter, flags));
  example(withOutput(retained.command('get <address>')), 'rosettamq retained get sensors/7/state')
    .description('print the body that an address remembers; with -o json the whole message')
    .action(async (address, flags) => (await load()).getRetained(address, flags));
  example(withApi(retained.command('remove <address>')), 'rosettamq retained remove sensors/7/state')
    .description('let an address forget; subscribers are told nothing')
    .action(async (address, flags) => (await load()).removeRetained(address, flags));
}

const FILE = 'JSON or YAML from a file, or from standard input without one';
const DRY_RUN = ['--dry-run', 'really connect and say what came of it, and store nothing'] as const;

function addConnectionCommands(connections: Command): void {
  const load = () => import('./connections.ts');
  example(withList(connections.command('list')), 'rosettamq connections list')
    .description('list connections to outside brokers')
    .action(async (flags) => (await load()).listConnections(flags));
  example(withOutput(connections.command('show <name>')), 'rosettamq connections show site')
    .description('show a connection; secrets are not shown')
    .action(async (name, flags) => (await load()).showConnection(name, flags));
  example(
    withOutput(connections.command('put <name> [file]')),
    'rosettamq connections put site site.yaml --dry-run',
    'rosettamq connections put site site.yaml',
  )
    .description(`create or replace a connection: ${FILE}`)
    .option(...DRY_RUN)
    .action(async (name, file, flags) => (await load()).putConnection(name, file, flags));
  example(withApi(connections.command('delete <name>')), 'rosettamq connections delete site')
    .description('delete a connection that no bridge uses')
    .action(async (name, flags) => (await load()).deleteConnection(name, flags));
  example(withOutput(connections.command('probe <name>')), 'rosettamq connections probe site')
    .description('connect, say what came of it, and close; exit code 3: it does not connect')
    .action(async (name, flags) => (await load()).probeConnection(name, flags));
}

function addBridgeCommands(bridges: Command): void {
  const load = () => import('./bridges.ts');
  example(withList(bridges.command('list')), 'rosettamq bridges list')
    .description('list bridges with their state, what waits, and what is done')
    .action(async (flags) => (await load()).listBridges(flags));
  example(withOutput(bridges.command('show <name>')), 'rosettamq bridges show to-site')
    .description('show a bridge with its last errors and its definition')
    .action(async (name, flags) => (await load()).showBridge(name, flags));
  example(
    withOutput(bridges.command('put <name> [file]')),
    'rosettamq bridges put to-site to-site.yaml --dry-run',
    'rosettamq bridges put to-site to-site.yaml',
  )
    .description(`create or replace a bridge: ${FILE}`)
    .option(...DRY_RUN)
    .action(async (name, file, flags) => (await load()).putBridge(name, file, flags));
  example(withApi(bridges.command('delete <name>')), 'rosettamq bridges delete to-site')
    .description('delete a bridge with what waits in its buffer')
    .action(async (name, flags) => (await load()).deleteBridge(name, flags));
  example(withOutput(bridges.command('pause <name>')), 'rosettamq bridges pause to-site')
    .description('disconnect; what the bridge takes waits in its buffer')
    .action(async (name, flags) => (await load()).switchBridge('pause', name, flags));
  example(withOutput(bridges.command('resume <name>')), 'rosettamq bridges resume to-site')
    .description('connect again, and go on where it stopped')
    .action(async (name, flags) => (await load()).switchBridge('resume', name, flags));
  example(withOutput(bridges.command('reset <name>')), 'rosettamq bridges reset to-site')
    .description('forget what waits in the buffer, the counters and the errors, and connect again')
    .action(async (name, flags) => (await load()).resetBridge(name, flags));
  example(withOutput(bridges.command('probe <name>')), 'rosettamq bridges probe to-site')
    .description('connect beside it, say what came of it, and close; exit code 3: it does not connect')
    .action(async (name, flags) => (await load()).probeBridge(name, flags));
}

function addMessageCommands(program: Command): void {
  const load = () => import('./messages.ts');
  example(
    withApi(program.command('publish <address>')),
    'rosettamq publish sensors/7/temperature -m 22.5 --header unit=C --retain',
    'rosettamq publish pictures/7 --file picture.jpg --content-type image/jpeg',
    'tail -f log | rosettamq publish logs/app --lines',
  )
    .description('publish a message, and be told when it is stored')
    .option('-m, --message <text>', 'the body')
    .option('-f, --file <file>', 'the body is the content of this file; - is standard input')
    .option('-l, --lines', 'each line of standard input is a message')
    .addOption(
      new Option('-r, --reliability <0|1|2>', '0 at most once, 1 at least once, 2 exactly once')
        .choices(['0', '1', '2'])
        .default('1'),
    )
    .option('--retain', 'the address remembers it')
    .option('--content-type <type>', 'such as text/plain')
    .option('--reply-to <address>', 'where answers go')
    .option('--correlation <text>', 'what answers carry')
    .option('--key <text>', 'its key in streams')
    .option('--header <name=value...>', 'headers, in their order')
    .addOption(new Option('--expiry-ms <milliseconds>', 'not delivered after this time').argParser(readCount))
    .action(async (address, flags) => (await load()).publish(address, flags));
  example(
    withOutput(program.command('subscribe <filter>')),
    "rosettamq subscribe 'sensors/#'",
    "rosettamq subscribe 'sensors/+/temperature' --count 10 -o json",
  )
    .description(
      'print messages as they come: address and body, or a line of JSON each; + is one level, # many',
    )
    .addOption(new Option('-n, --count <messages>', 'end after so many').argParser(readCount))
    .option('--no-retained', 'without what addresses remember')
    .action(async (filter, flags) => (await load()).subscribe(filter, flags));
}

function readCount(text: string): number {
  const count = Number(text);
  if (!/^[0-9]{1,15}$/.test(text) || count === 0)
    throw new InvalidArgumentError('It must be a whole number above 0.');
  return count;
}
