/** The router's trie, cache and journal together against the simplest thing that is right: a list of patterns. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MANY, ONE, Pattern, type Token } from '../../../src/core/index.ts';
import { type Binding, type Destination, IGNORED, Router } from '../../../src/core/router.ts';
import { cpuMs } from '../../support/cpu-time.ts';

const level = fc.constantFrom('a', 'b', 'c', '', '$s', '+', '#', '*');
const address = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'));
const token = fc.oneof<fc.Arbitrary<Token>[]>(level, fc.constant(ONE as Token), fc.constant(MANY as Token));
const pattern = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => new Pattern(tokens));

function destination(name: string): Destination {
  return { kind: 'queue', name, accept: () => IGNORED };
}

function bindingOf(on: Pattern, to: Destination): Binding {
  return { pattern: on, destination: to, options: null, via: null, match: null, rule: null };
}

describe('router', () => {
  it('finds exactly the destinations whose patterns match, whatever was added, removed and asked before', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), pattern, to: fc.nat(4) }),
      fc.record({ kind: fc.constant('remove' as const), at: fc.nat(20) }),
      fc.record({ kind: fc.constant('ask' as const), address }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(8), (steps, cacheEntries) => {
        const router = new Router(cacheEntries + 1);
        const destinations = [0, 1, 2, 3, 4].map((n) => destination(`d${n}`));
        const bindings: Binding[] = [];
        for (const action of steps) {
          if (action.kind === 'add') {
            const binding = bindingOf(action.pattern, destinations[action.to] as Destination);
            bindings.push(binding);
            router.add(binding);
          } else if (action.kind === 'remove') {
            const [binding] = bindings.splice(action.at, 1);
            if (binding !== undefined) router.remove(binding);
          } else {
            const expected = bindings.filter((b) => b.pattern.matches(action.address));
            const routes = router.routes(action.address).routes;
            const found = routes.flatMap((route) => route.bindings);
            expect(new Set(found)).toEqual(new Set(expected));
            expect(found.length).toBe(expected.length);
            expect(new Set(routes.map((route) => route.destination)).size).toBe(routes.length);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('resolves a remembered address again only when a change matches it', () => {
    const router = new Router(100);
    const one = destination('one');
    router.add(bindingOf(Pattern.of('a/b'), one));
    const before = router.routes('a/b');
    router.add(bindingOf(new Pattern(['c', MANY]), destination('two')));
    expect(router.routes('a/b')).toBe(before);
    router.add(bindingOf(new Pattern(['a', ONE]), destination('three')));
    expect(router.routes('a/b')).not.toBe(before);
    expect(router.routes('a/b').routes.map((route) => route.destination.name)).toEqual(['one', 'three']);
  });

  it('keeps one list for addresses that are bound alike', () => {
    const router = new Router(100);
    const one = destination('one');
    router.add(bindingOf(new Pattern(['a', MANY]), one));
    router.add(bindingOf(Pattern.of('a/c'), destination('two')));
    router.add(bindingOf(new Pattern([ONE, 'p']), one));
    router.add(bindingOf(new Pattern(['a', 'q', MANY]), one));
    const [first, second] = [router.routes('a/b'), router.routes('a/d')];
    expect(second).not.toBe(first);
    expect(second.routes).toBe(first.routes);
    const countBindings = (address: string) =>
      router.routes(address).routes.map(({ bindings }) => bindings.length);
    // Whichever comes first, one of these begins as the list of one does.
    expect(['a/p', 'a/e', 'a/q', 'a/f'].map(countBindings)).toEqual([[2], [1], [2], [1]]);
    expect(
      router
        .routes('a/c')
        .routes.map((route) => route.destination.name)
        .sort(),
    ).toEqual(['one', 'two']);
  });

  it('notices a change even when more changes followed than the journal holds', () => {
    const router = new Router(100);
    expect(router.routes('a/b').routes).toEqual([]);
    router.add(bindingOf(new Pattern(['a', ONE]), destination('d')));
    for (let i = 0; i < 1_000; i++) router.add(bindingOf(Pattern.of(`other/${i}`), destination('x')));
    expect(router.routes('a/b').routes.map((route) => route.destination.name)).toEqual(['d']);
  });

  it('merges the options of all matching bindings of one destination', () => {
    const router = new Router(100);
    const to = destination('s');
    const wish = { noLocal: false, keepRetain: false };
    router.add({ ...bindingOf(new Pattern(['a', ONE]), to), options: { ...wish, reliability: 0, id: 7 } });
    router.add({
      ...bindingOf(new Pattern([MANY]), to),
      options: { ...wish, reliability: 2, id: 9, keepRetain: true },
    });
    const [route] = router.routes('a/b').routes;
    expect(route?.options).toEqual({
      reliability: 2,
      subscriptionIds: expect.arrayContaining([7, 9]) as number[],
      retained: false,
      keepRetain: true,
      via: null,
    });
  });

  it('walks patterns with many wildcards in bounded time', () => {
    const router = new Router(100);
    const many = Array.from({ length: 20 }, () => [MANY, 'a'] as const).flat();
    router.add(bindingOf(new Pattern([...many, 'z']), destination('d')));
    const begin = cpuMs();
    expect(router.routes(Array.from({ length: 100 }, () => 'a').join('/')).routes).toEqual([]);
    expect(cpuMs() - begin).toBeLessThan(500);
  });

  it('tells whether anything else could want what a pattern matches', () => {
    const router = new Router(100);
    const own = destination('own');
    router.add(bindingOf(new Pattern(['a', ONE]), own));
    expect(router.wanted(new Pattern(['a', ONE]), own)).toBe(false);
    router.add(bindingOf(new Pattern(['b', MANY]), destination('x')));
    expect(router.wanted(new Pattern(['a', ONE]), own)).toBe(false);
    router.add(bindingOf(new Pattern([ONE, 'q']), destination('y')));
    expect(router.wanted(new Pattern(['a', ONE]), own)).toBe(true);
    expect(router.wanted(Pattern.of('a/z'), own)).toBe(false);
    expect(router.wanted(Pattern.of('a/q'), own)).toBe(true);
  });
});

describe('pattern', () => {
  it('overlaps another pattern when, and as far as samples tell only when, some address matches both', () => {
    fc.assert(
      fc.property(pattern, pattern, fc.array(address, { maxLength: 30 }), (a, b, addresses) => {
        if (addresses.some((text) => a.matches(text) && b.matches(text))) expect(a.overlaps(b)).toBe(true);
        expect(a.overlaps(b)).toBe(b.overlaps(a));
      }),
      { numRuns: 1_000 },
    );
  });

  it('matches in bounded time whatever the pattern', () => {
    const tokens = Array.from({ length: 60 }, () => [MANY, 'a'] as const).flat();
    const begin = cpuMs();
    expect(new Pattern([...tokens, 'z']).matches(Array.from({ length: 120 }, () => 'a').join('/'))).toBe(
      false,
    );
    expect(new Pattern([...tokens, 'z']).overlaps(new Pattern([...tokens, 'y']))).toBe(false);
    expect(cpuMs() - begin).toBeLessThan(500);
  });

  it('keeps wildcards away from first levels that begin with a dollar sign', () => {
    expect(new Pattern([MANY]).matches('$SYS/x')).toBe(false);
    expect(new Pattern([ONE, 'x']).matches('$SYS/x')).toBe(false);
    expect(new Pattern(['$SYS', MANY]).matches('$SYS/x')).toBe(true);
  });

  it('reads back its key', () => {
    fc.assert(
      fc.property(pattern, (p) => {
        expect(Pattern.parse(p.key).tokens).toEqual(p.tokens);
      }),
    );
  });
});
