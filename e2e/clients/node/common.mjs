// What the frameworks in Node.js share: the answer's type, the tool, and the loop that Python drives.

import { createInterface } from 'node:readline'
import { z } from 'zod'

export const QUESTION = 'Which city is warmer, Paris or Rome?'
export const ABOUT_CITY = 'Describe Paris.'
export const ABOUT_IMAGE = 'What is this?'

const Mayor = z.object({ name: z.string(), since: z.number().int().min(1800) })
export const City = z
  .object({
    name: z.string().min(1).describe('As its people call it'),
    population: z.number().int().min(0),
    kind: z.enum(['capital', 'town']),
    tags: z.array(z.string()).max(5),
    mayor: Mayor,
    twin: Mayor.nullable(),
  })
  .describe('A city of the world')

// The tool, and the cities that it was called with.
export class Thermometer {
  cities = []

  temperature(city) {
    this.cities.push(city)
    return `${20 + this.cities.length} degrees`
  }
}

// Runs scenarios: a line `{"scenario", "base_url", "key", "model", "image"}` in, a line
// `{"result"}` or `{"error"}` out.
export async function serve(scenarios) {
  // What a framework prints is not for the other side.
  console.log = console.info = console.error
  for await (const line of createInterface({ input: process.stdin })) {
    const target = JSON.parse(line)
    let said
    try {
      said = { result: await scenarios[target.scenario](target) }
    } catch (error) {
      said = { error: `${error?.stack ?? error}\n${error?.responseBody ?? ''}` }
    }
    process.stdout.write(`${JSON.stringify(said)}\n`)
  }
}
