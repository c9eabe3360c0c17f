// LangChain.js, with ChatOpenAI.

import { ChatOpenAI } from '@langchain/openai'
import { HumanMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { createAgent } from 'langchain'
import { z } from 'zod'
import { ABOUT_CITY, ABOUT_IMAGE, City, QUESTION, Thermometer, serve } from './common.mjs'

const model = (target) =>
  new ChatOpenAI({ model: target.model, apiKey: target.key, configuration: { baseURL: target.base_url } })
const structured = (method) => (target) =>
  model(target)
    .withStructuredOutput(City, method ? { method } : undefined)
    .invoke(`${ABOUT_CITY} Answer in JSON.`)

const thermometerTool = (thermometer) =>
  tool(({ city }) => thermometer.temperature(city), {
    name: 'temperature',
    description: 'The temperature in a city',
    schema: z.object({ city: z.string() }),
  })

await serve({
  async plain(target) {
    return (await model(target).invoke(QUESTION)).text
  },
  async stream(target) {
    const pieces = []
    for await (const chunk of await model(target).stream(QUESTION)) if (chunk.text) pieces.push(chunk.text)
    return pieces
  },
  async tools(target) {
    const thermometer = new Thermometer()
    const temperature = thermometerTool(thermometer)
    const bound = model(target).bindTools([temperature])
    const messages = [new HumanMessage(QUESTION)]
    for (;;) {
      const reply = await bound.invoke(messages)
      messages.push(reply)
      if (!reply.tool_calls?.length) return [reply.text, thermometer.cities]
      for (const call of reply.tool_calls) messages.push(await temperature.invoke(call))
    }
  },
  async tools_agent(target) {
    const thermometer = new Thermometer()
    const agent = createAgent({
      model: model(target),
      tools: [thermometerTool(thermometer)],
      systemPrompt: 'Be brief.',
    })
    const done = await agent.invoke({ messages: [{ role: 'user', content: QUESTION }] })
    return [done.messages.at(-1).text, thermometer.cities]
  },
  async structured_agent(target) {
    const agent = createAgent({ model: model(target), tools: [], responseFormat: City })
    return (await agent.invoke({ messages: [{ role: 'user', content: ABOUT_CITY }] })).structuredResponse
  },
  structured: structured(),
  structured_function_calling: structured('functionCalling'),
  structured_json_mode: structured('jsonMode'),
  structured_json_schema: structured('jsonSchema'),
  async image(target) {
    const url = `data:image/png;base64,${target.image}`
    const content = [{ type: 'text', text: ABOUT_IMAGE }, { type: 'image_url', image_url: { url } }]
    return (await model(target).invoke([{ role: 'user', content }])).text
  },
})
