// The hostile endpoints in a process of their own. Tells its parent where they are, and what they saw when it asks.
import { startHostileEndpoints } from './hostile-endpoints.ts';

const hostile = await startHostileEndpoints();
const tell = (message: object) => void process.send!(message);
// Any message asks.
process.on('message', () => tell({ stats: hostile.readStats(), canaryConnections: hostile.canaryConnections }));
process.on('disconnect', () => process.exit());
tell({ endpoints: hostile.endpoints, dnsServer: hostile.dnsServer });
