// `npm start -- --ephemeral` without npm: what `startService` can start, which passes no arguments.
process.argv.push('--ephemeral');
await import('../../services/standalone/main.ts');
