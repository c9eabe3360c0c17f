// Vercel's AI SDK, by its provider for OpenAI's chat and by the one for compatible servers: argv[2].

import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { Output, generateText, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'
import { ABOUT_CITY, ABOUT_IMAGE, City, QUESTION, Thermometer, serve } from './common.mjs'

const model = (target) => {
  const settings = { baseURL: target.base_url, apiKey: target.key }
  return process.argv[2] === 'compatible'
    ? createOpenAICompatible({ name: 'gateway', ...settings }).chatModel(target.model)
    : createOpenAI(settings).chat(target.model)
}
const thermometer = (tool_) => ({
  temperature: tool({
    description: 'The temperature in a city',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => tool_.temperature(city),
  }),
})

await serve({
  async plain(target) {
    return (await generateText({ model: model(target), system: 'Be brief.', prompt: QUESTION, maxRetries: 0 })).text
  },
  async stream(target) {
    const pieces = []
    const failed = []
    const made = streamText({
      model: model(target),
      prompt: QUESTION,
      maxRetries: 0,
      onError: ({ error }) => failed.push(error),
    })
    for await (const piece of made.textStream) pieces.push(piece)
    if (failed.length) throw failed[0]
    return pieces
  },
  async tools(target) {
    const it = new Thermometer()
    const done = await generateText({
      model: model(target),
      prompt: QUESTION,
      tools: thermometer(it),
      stopWhen: stepCountIs(5),
      maxRetries: 0,
    })
    return [done.text, it.cities]
  },
  async structured(target) {
    const done = await generateText({
      model: model(target),
      prompt: ABOUT_CITY,
      output: Output.object({ schema: City }),
      maxRetries: 0,
    })
    return done.output
  },
  async image(target) {
    const image = Buffer.from(target.image, 'base64')
    const content = [{ type: 'text', text: ABOUT_IMAGE }, { type: 'image', image, mediaType: 'image/png' }]
    return (await generateText({ model: model(target), messages: [{ role: 'user', content }], maxRetries: 0 })).text
  },
})
