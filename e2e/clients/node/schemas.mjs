// Schemas by zod, of the types of MCP.

import * as types from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'

const found = {}
for (const [name, type] of Object.entries(types)) {
  if (!(type instanceof z.ZodType)) continue
  try {
    const schema = z.toJSONSchema(type)
    if (schema.type === 'object' && schema.properties) found[`zod.${name}`] = schema
  } catch {
    // What JSON Schema cannot say.
  }
}
process.stdout.write(JSON.stringify(found))
